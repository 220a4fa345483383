"""Reads what a table consists of, as the statements that make the same again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import psycopg

__all__ = ["Definition", "ReferringKey", "dependent_objects", "read_definition", "referring_keys"]

_Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Definition:
    """A table's parts by name. All texts name the table as it is called now, without its schema."""

    name: str
    owner: str
    comment: str | None
    columns: tuple[str, ...]
    constraints: dict[str, tuple[str, str]]  # name -> (contype, definition)
    indexes: dict[str, str]  # without those of constraints
    unique_columns: dict[str, tuple[str, ...]]  # of unique indexes, those of constraints too
    row_triggers: dict[str, str]
    statement_triggers: dict[str, str]
    options: tuple[str, ...]
    grants: tuple[str, ...]
    policies: tuple[str, ...]
    row_security: bool


@dataclass(frozen=True, slots=True)
class ReferringKey:
    """A foreign key of another table that refers to this one."""

    table: str
    name: str
    definition: str
    validated: bool


def _rows(conn: _Connection, query: str, *parameters: object) -> list[Any]:
    return conn.execute(query.encode(), parameters or None).fetchall()


def read_definition(conn: _Connection, table: str) -> Definition:
    """The definition of a table of the current schema, which must be the only one of the search path."""
    about = _rows(
        conn,
        """
        SELECT
            c.relowner::regrole::text,
            obj_description(c.oid, 'pg_class'),
            coalesce(c.reloptions, '{}'),
            c.relrowsecurity,
            ARRAY(
                SELECT quote_ident(a.attname) FROM pg_attribute AS a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
            )
        FROM pg_class AS c WHERE c.oid = to_regclass(quote_ident(%s))
        """,
        table,
    )
    owner, comment, options, row_security, columns = about[0] if about else ("", None, (), False, ())
    return Definition(
        name=table,
        owner=owner,
        comment=comment,
        columns=tuple(columns),
        constraints={name: (kind, text) for name, kind, text in _rows(conn, _CONSTRAINTS, table)},
        indexes=dict(_rows(conn, _INDEXES, table)),
        unique_columns={name: tuple(columns) for name, columns in _rows(conn, _UNIQUE, table)},
        row_triggers={name: text for name, text, of_row in _rows(conn, _TRIGGERS, table) if of_row},
        statement_triggers={name: text for name, text, of_row in _rows(conn, _TRIGGERS, table) if not of_row},
        options=tuple(options),
        grants=tuple(text for (text,) in _rows(conn, _GRANTS, table)),
        policies=tuple(text for (text,) in _rows(conn, _POLICIES, table)),
        row_security=row_security,
    )


_CONSTRAINTS: Final = """
SELECT k.conname::text, k.contype::text, pg_get_constraintdef(k.oid, true)
FROM pg_constraint AS k
WHERE k.conrelid = to_regclass(quote_ident(%s)) AND k.contype IN ('c', 'f', 'p', 'u')
ORDER BY position(k.contype::text IN 'pucf'), k.conname
"""

_INDEXES: Final = """
SELECT c.relname::text, pg_get_indexdef(i.indexrelid, 0, true)
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(quote_ident(%s))
    AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))
ORDER BY c.relname
"""

_UNIQUE: Final = """
SELECT c.relname::text, array_agg(a.attname::text ORDER BY place.n)
FROM pg_index AS i
JOIN pg_class AS c ON c.oid = i.indexrelid
CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS place (attnum, n)
LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = place.attnum
WHERE i.indrelid = to_regclass(quote_ident(%s)) AND i.indisunique
GROUP BY c.relname
"""

_TRIGGERS: Final = """
SELECT g.tgname::text, pg_get_triggerdef(g.oid, true), g.tgtype & 1 = 1
FROM pg_trigger AS g
WHERE g.tgrelid = to_regclass(quote_ident(%s)) AND NOT g.tgisinternal
ORDER BY g.tgname
"""

# The owner's own rights are part of its ownership.
_GRANTS: Final = """
SELECT
    format(
        'GRANT %%s%%s ON %%I TO %%s%%s', given.privilege_type, given.columns, asked.name,
        CASE WHEN given.grantee = 0 THEN 'PUBLIC' ELSE given.grantee::regrole::text END,
        CASE WHEN given.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
    )
FROM (SELECT %s::text AS name) AS asked
JOIN pg_class AS c ON c.oid = to_regclass(quote_ident(asked.name))
CROSS JOIN LATERAL (
    SELECT x.grantee, x.privilege_type, x.is_grantable, '' AS columns
    FROM aclexplode(c.relacl) AS x
    UNION ALL
    SELECT x.grantee, x.privilege_type, x.is_grantable, ' (' || quote_ident(a.attname) || ')'
    FROM pg_attribute AS a
    CROSS JOIN LATERAL aclexplode(a.attacl) AS x
    WHERE a.attrelid = c.oid
) AS given
WHERE given.grantee <> c.relowner
ORDER BY 1
"""

_POLICIES: Final = """
SELECT
    format(
        'CREATE POLICY %%I ON %%I AS %%s FOR %%s TO %%s%%s%%s', p.polname, asked.name,
        CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        CASE p.polcmd
            WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL'
        END,
        (
            SELECT string_agg(CASE WHEN role = 0 THEN 'PUBLIC' ELSE role::regrole::text END, ', ')
            FROM unnest(p.polroles) AS role
        ),
        ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
        ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')'
    )
FROM (SELECT %s::text AS name) AS asked
JOIN pg_policy AS p ON p.polrelid = to_regclass(quote_ident(asked.name))
ORDER BY p.polname
"""


def referring_keys(conn: _Connection, table: str) -> list[ReferringKey]:
    """The foreign keys that refer to the table, of whatever tables: a service's too."""
    rows = _rows(
        conn,
        """
        SELECT k.conrelid::regclass::text, k.conname::text, pg_get_constraintdef(k.oid, true), k.convalidated
        FROM pg_constraint AS k
        WHERE k.confrelid = to_regclass(quote_ident(%s)) AND k.contype = 'f' AND k.conparentid = 0
        ORDER BY 1, 2
        """,
        table,
    )
    return [ReferringKey(*row) for row in rows]


def dependent_objects(conn: _Connection, table: str) -> list[str]:
    """The views, rules and SQL functions that would go on reading the first partition alone."""
    return [
        text
        for (text,) in _rows(
            conn,
            """
            SELECT DISTINCT pg_describe_object(
                CASE WHEN r.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass END, coalesce(r.ev_class, d.objid), 0
            )
            FROM pg_depend AS d
            LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
            WHERE d.refclassid = 'pg_class'::regclass
                AND d.refobjid = to_regclass(quote_ident(%s))
                AND d.classid IN ('pg_rewrite'::regclass, 'pg_proc'::regclass)
                AND d.deptype = 'n'
            UNION
            SELECT format('publication %%s', p.pubname)
            FROM pg_publication_rel AS l
            JOIN pg_publication AS p ON p.oid = l.prpubid
            WHERE l.prrelid = to_regclass(quote_ident(%s))
            ORDER BY 1
            """,
            table,
            table,
        )
    ]
