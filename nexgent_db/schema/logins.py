"""Logins of single users, for SQL that a user writes: the user is in the login's name, which no SQL can change.

The policies of ``sql/roles.sql`` and ``caller_acts_for()`` read the user from it.
"""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql

from nexgent_db.errors import InvalidInput, TenantNotIsolated

__all__ = ["add_login", "drop_login", "login_of", "user_of_login"]

_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,24}")  # "_user_" and 32 digits follow; a name has at most 63 bytes
_LOGIN: Final = re.compile(r"_user_([0-9a-f]{32})$")


def login_of(user_id: UUID, prefix: str = "nexgent") -> str:
    """The name of the login that acts for this user alone. Raises InvalidInput for the prefix."""
    if not _PREFIX.fullmatch(prefix):
        raise InvalidInput("prefix", "should be 1 to 25 lower-case letters, digits and underscores, not a digit first")
    return f"{prefix}_user_{user_id.hex}"


def user_of_login(name: str) -> UUID | None:
    """The user for whom alone a login of this name acts; None for any other login."""
    found = _LOGIN.search(name)
    return None if found is None else UUID(found[1])


def add_login(
    conn: psycopg.Connection[Any], user_id: UUID, prefix: str = "nexgent", *, max_connections: int = 5
) -> str:
    """Create the login under which SQL that this user writes sees this user's rows alone; return its name.

    A member of the tenants' role, without a password. Only its limit of connections changes when it is there already.

    Raises InvalidInput for the prefix, without the tenants' role and for a user that does not exist;
    TenantNotIsolated when the login is there and has more rights than the tenants' role, which are not taken from it;
    then psycopg's errors.
    """
    name, tenants = login_of(user_id, prefix), f"{prefix}_tenant"
    with conn.transaction():
        if not _exists(conn, tenants):
            raise InvalidInput("prefix", f"the server has no role {tenants}: nexgent-db roles apply")
        if conn.execute("SELECT FROM users WHERE id = %s", (user_id,)).rowcount == 0:
            raise InvalidInput("user_id", f"there is no user {user_id}")
        login, role = sql.Identifier(name), sql.Identifier(tenants)
        if not _exists(conn, name):
            conn.execute(sql.SQL("CREATE ROLE {} LOGIN INHERIT IN ROLE {}").format(login, role))
        conn.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT {}").format(login, max_connections))
        more = [str(right) for (right,) in conn.execute(_MORE_RIGHTS, {"login": name, "tenants": tenants})]
        if more:
            raise TenantNotIsolated(f"{name} has more rights than {tenants}: {', '.join(more)}")
    return name


def drop_login(conn: psycopg.Connection[Any], user_id: UUID, prefix: str = "nexgent") -> bool:
    """Drop the user's login; False when there was none. Its open sessions go on until they end.

    Raises InvalidInput for the prefix, then psycopg's errors.
    """
    name = login_of(user_id, prefix)
    with conn.transaction():
        found = _exists(conn, name)
        conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
    return found


def _exists(conn: psycopg.Connection[Any], role: str) -> bool:
    return conn.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).rowcount == 1


_MORE_RIGHTS: Final = """
WITH login AS (SELECT * FROM pg_roles WHERE rolname = %(login)s)

SELECT attribute.name
FROM login AS r, LATERAL (
    VALUES
    ('SUPERUSER', r.rolsuper),
    ('CREATEROLE', r.rolcreaterole),
    ('CREATEDB', r.rolcreatedb),
    ('REPLICATION', r.rolreplication),
    ('BYPASSRLS', r.rolbypassrls)
) AS attribute (name, given)
WHERE attribute.given
UNION ALL
SELECT 'member of ' || g.rolname
FROM login AS r
INNER JOIN pg_roles AS g ON g.oid <> r.oid AND g.rolname <> %(tenants)s AND pg_has_role(r.oid, g.oid, 'MEMBER')
UNION ALL
SELECT DISTINCT 'rights of its own: ' || d.classid::regclass
FROM login AS r
INNER JOIN pg_shdepend AS d ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid
WHERE d.deptype IN ('o', 'a', 'i')
"""
