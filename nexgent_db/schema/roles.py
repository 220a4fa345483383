"""Least privilege: applies ``sql/roles.sql`` to a database and reports what changed, or would change."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from nexgent_db.errors import InvalidInput, MigrationError
from nexgent_db.queries.lexer import statements
from nexgent_db.resources import data_dir

__all__ = ["NOT_ON_CITUS", "ROLES", "Change", "apply_roles", "roles_sql"]

ROLES: Final = ("owner", "migrator", "app", "tenant", "worker", "readonly")
"""The parts of the roles' names after the prefix and an underscore."""

NOT_ON_CITUS: Final = "it would make restrictive policies permissive, and takes none with subqueries"
"""Why sql/roles.sql is not applied to distributed tables."""

_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,49}")  # needs no quotes, and PostgreSQL truncates no name
_NAMED: Final = re.compile(rf"\bnexgent_({'|'.join(ROLES)}|everyone)\b")  # everyone is a policy


@dataclass(frozen=True, slots=True)
class Change:
    """A right of a role, or a policy of a table, before and after; None where there is none."""

    subject: str
    before: str | None
    after: str | None


def roles_sql(prefix: str = "nexgent") -> str:
    """The text of ``sql/roles.sql`` with its roles under this prefix. Raises InvalidInput if it needs quotes."""
    if not _PREFIX.fullmatch(prefix):
        raise InvalidInput("prefix", "should be 1 to 50 lower-case letters, digits and underscores, not a digit first")
    text = (data_dir("sql") / "roles.sql").read_text(encoding="utf-8")
    return _NAMED.sub(lambda found: f"{prefix}_{found[1]}", text)


def apply_roles(conn: psycopg.Connection[Any], prefix: str = "nexgent", *, keep: bool = True) -> list[Change]:
    """Create the roles and grant them rights on the schema of the search path; return the changes, which may be none.

    It runs in one transaction. Without ``keep`` that is rolled back, so the list shows what would change. Raises
    InvalidInput for the prefix; MigrationError for a schema that Citus distributes; then psycopg's errors.
    """
    text = roles_sql(prefix)
    with conn.transaction(force_rollback=not keep):
        _ensure_not_distributed(conn)
        before = _state(conn, prefix)
        for statement in statements(text):  # not as one string: Citus sends a string on as it is
            conn.execute(text[statement.start : statement.end].encode())
        after = _state(conn, prefix)
    return [
        Change(subject, before.get(subject), after.get(subject))
        for subject in sorted(before.keys() | after.keys())
        if before.get(subject) != after.get(subject)
    ]


def _ensure_not_distributed(conn: psycopg.Connection[Any]) -> None:
    """Citus makes restrictive policies permissive on its nodes: the tenants' role would see all users' rows."""
    if conn.execute("SELECT FROM pg_extension WHERE extname = 'citus'").fetchone() is None:
        return
    if (distributed := conn.execute(_DISTRIBUTED).fetchone()) is not None:
        raise MigrationError(f"the schema {distributed[0]} is distributed by Citus: {NOT_ON_CITUS}")


def _state(conn: psycopg.Connection[Any], prefix: str) -> Mapping[str, str]:
    """The state of everything that roles.sql sets, by subject, read from the catalog."""
    names = [f"{prefix}_{role}" for role in ROLES]
    found: dict[str, str] = {}
    for query in (_ATTRIBUTES, _MEMBERS, _OWNERS, _GRANTS, _POLICIES):
        rows = conn.execute(query, {"roles": names}).fetchall()
        found.update({str(subject): str(state) for subject, state in rows})
    return found


_DISTRIBUTED: Final = """
SELECT n.nspname::text
FROM pg_dist_partition AS d
INNER JOIN pg_class AS c ON c.oid = d.logicalrelid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema()
LIMIT 1
"""

_ATTRIBUTES: Final = """
SELECT
    'role ' || r.rolname,
    concat_ws(
        ', ',
        CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
        CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
        CASE WHEN r.rolsuper THEN 'SUPERUSER' END,
        CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
        CASE WHEN r.rolreplication THEN 'REPLICATION' END,
        CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
        (
            SELECT 'here ' || array_to_string(s.setconfig, ', ')
            FROM pg_db_role_setting AS s
            WHERE s.setrole = r.oid
                AND s.setdatabase = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
        )
    )
FROM pg_roles AS r
WHERE r.rolname = ANY (%(roles)s)
"""

_MEMBERS: Final = """
SELECT 'role ' || m.rolname || ' as ' || g.rolname, 'may become it'
FROM pg_auth_members AS a
INNER JOIN pg_roles AS g ON g.oid = a.roleid
INNER JOIN pg_roles AS m ON m.oid = a.member
WHERE g.rolname = ANY (%(roles)s) AND m.rolname = ANY (%(roles)s)
"""

_OWNERS: Final = """
SELECT
    CASE c.relkind WHEN 'S' THEN 'sequence ' ELSE 'table ' END || c.relname,
    concat_ws(', ', 'of ' || pg_get_userbyid(c.relowner), CASE WHEN c.relrowsecurity THEN 'row-level security' END)
FROM pg_class AS c
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
UNION ALL
SELECT 'function ' || p.proname, 'of ' || pg_get_userbyid(p.proowner)
FROM pg_proc AS p
WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
UNION ALL
SELECT 'type ' || t.typname, 'of ' || pg_get_userbyid(t.typowner)
FROM pg_type AS t
WHERE t.typnamespace = quote_ident(current_schema())::regnamespace AND t.typtype = 'e'
"""

_GRANTS: Final = """
WITH granted AS (
    SELECT 'database ' || d.datname AS subject, a.grantee, a.privilege_type, NULL::text AS columns
    FROM pg_database AS d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
    WHERE d.datname = current_database()
    UNION ALL
    SELECT 'schema ' || n.nspname, a.grantee, a.privilege_type, NULL
    FROM pg_namespace AS n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS a
    WHERE n.nspname = current_schema()
    UNION ALL
    SELECT
        CASE c.relkind WHEN 'S' THEN 'sequence ' ELSE 'table ' END || c.relname, a.grantee, a.privilege_type, NULL
    FROM pg_class AS c, aclexplode(c.relacl) AS a
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND a.grantee <> c.relowner
    UNION ALL
    SELECT 'table ' || c.relname, a.grantee, a.privilege_type, string_agg(t.attname, ', ' ORDER BY t.attname)
    FROM pg_class AS c
    INNER JOIN pg_attribute AS t ON t.attrelid = c.oid AND NOT t.attisdropped,
        aclexplode(t.attacl) AS a
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
    GROUP BY c.relname, a.grantee, a.privilege_type
    UNION ALL
    SELECT 'new tables of ' || pg_get_userbyid(f.defaclrole), a.grantee, a.privilege_type, NULL
    FROM pg_default_acl AS f, aclexplode(f.defaclacl) AS a
    WHERE f.defaclobjtype = 'r' AND a.grantee <> f.defaclrole
)

SELECT
    g.subject || ' for ' || coalesce(r.rolname, 'PUBLIC'),
    string_agg(g.privilege_type || coalesce(' (' || g.columns || ')', ''), ', ' ORDER BY g.privilege_type)
FROM granted AS g
LEFT JOIN pg_roles AS r ON r.oid = g.grantee
WHERE g.grantee = 0 OR r.rolname = ANY (%(roles)s)
GROUP BY g.subject, r.rolname
"""

_POLICIES: Final = """
SELECT
    'table ' || c.relname || ' policy ' || p.polname,
    concat_ws(
        ' ',
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        p.polcmd::text,
        'TO ' || array_to_string(
            ARRAY(SELECT coalesce(nullif(o, 0)::regrole::text, 'PUBLIC') FROM unnest(p.polroles) AS o), ', '
        ),
        'USING ' || pg_get_expr(p.polqual, p.polrelid),
        'WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid)
    )
FROM pg_policy AS p
INNER JOIN pg_class AS c ON c.oid = p.polrelid
WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
"""
