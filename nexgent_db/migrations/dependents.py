"""Objects of others that a pending migration would break, such as a service's view on a column that is dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import psycopg

from nexgent_db.migrations.files import Migration
from nexgent_db.migrations.touched import Touched, created, touched

__all__ = ["broken_by"]


def broken_by(
    conn: psycopg.Connection[Any], folder: Sequence[Migration], planned: Sequence[Migration]
) -> Mapping[str, tuple[str, ...]]:
    """By the name of a planned migration: what it drops or changes that an object depends on which no migration of its
    own history makes. PostgreSQL refuses such a statement, or drops the object too if it says CASCADE.

    Reads the catalog. A dependency that PostgreSQL does not record, such as a table that the text of a function names,
    is not found.
    """
    own: dict[str, frozenset[tuple[str, str]]] = {}
    found: dict[str, tuple[str, ...]] = {}
    for migration in planned:
        history = migration.history
        if history not in own:
            own[history] = created([m for m in folder if m.history == history])
        lines = dict.fromkeys(
            f"{each}: {dependent} depends on it"
            for each in touched(migration.up)
            if each.verb in ("drops", "changes the type of")
            for dependent in _dependents(conn, each, own[history])
        )
        if lines:
            found[migration.id] = tuple(lines)
    return found


def _dependents(conn: psycopg.Connection[Any], on: Touched, own: frozenset[tuple[str, str]]) -> Iterator[str]:
    rows = conn.execute(
        _DEPENDENTS,
        {"kind": on.kind, "name": on.name, "column": on.column, "retyped": on.verb == "changes the type of"},
    )
    for kind, name, described in rows:
        if (kind, name) not in own:
            yield described


# A dependent is named by the object of a schema that it is part of: a rule of a view by the view, a constraint by its
# table. Policies are those of sql/roles.sql, or of a service's tables, which the migration does not change.
_DEPENDENTS: Final = """
WITH dropped AS (
    SELECT 'pg_class'::regclass AS classid, c.oid AS objid, coalesce(a.attnum, 0) AS subid
    FROM pg_class AS c
    LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = %(column)s
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
        AND c.relname = %(name)s
        AND (
            (%(kind)s IN ('table', 'view', 'sequence', 'index') AND %(column)s::text IS NULL)
            OR (%(kind)s = 'column' AND a.attnum IS NOT NULL)
        )
    UNION ALL
    SELECT 'pg_class'::regclass, k.conindid, 0
    FROM pg_constraint AS k
    INNER JOIN pg_class AS c ON c.oid = k.conrelid
    WHERE c.relnamespace = quote_ident(current_schema())::regnamespace
        AND %(kind)s = 'constraint'
        AND c.relname = %(name)s
        AND k.conname = %(column)s
        AND k.contype IN ('p', 'u', 'x')
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, 0
    FROM pg_proc AS p
    WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
        AND %(kind)s = 'function'
        AND p.proname = %(name)s
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, 0
    FROM pg_type AS t
    WHERE t.typnamespace = quote_ident(current_schema())::regnamespace AND %(kind)s = 'type' AND t.typname = %(name)s
),
dependent AS (
    SELECT DISTINCT d.classid, d.objid, d.objsubid
    FROM dropped AS o
    INNER JOIN pg_depend AS d
        ON d.refclassid = o.classid AND d.refobjid = o.objid AND (o.subid = 0 OR d.refobjsubid = o.subid)
    WHERE d.deptype = 'n'
        AND d.classid <> 'pg_policy'::regclass
        AND NOT (%(retyped)s AND d.classid = 'pg_constraint'::regclass) -- it is made again
)

SELECT
    CASE
        WHEN c.relkind IN ('v', 'm') THEN 'view'
        WHEN c.oid IS NOT NULL THEN 'table'
        WHEN d.classid = 'pg_trigger'::regclass THEN 'trigger'
        WHEN d.classid = 'pg_proc'::regclass THEN 'function'
        ELSE 'type'
    END,
    coalesce(c.relname, g.tgname, p.proname, t.typname),
    CASE
        WHEN c.relkind IN ('v', 'm') THEN pg_describe_object('pg_class'::regclass, c.oid, 0)
        ELSE pg_describe_object(d.classid, d.objid, d.objsubid)
    END
FROM dependent AS d
LEFT JOIN pg_constraint AS k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid
LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
LEFT JOIN pg_attrdef AS e ON d.classid = 'pg_attrdef'::regclass AND e.oid = d.objid
LEFT JOIN pg_trigger AS g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid
LEFT JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
LEFT JOIN pg_type AS t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
LEFT JOIN pg_class AS c
    ON c.oid = coalesce(
        nullif(k.conrelid, 0), r.ev_class, e.adrelid, CASE WHEN d.classid = 'pg_class'::regclass THEN d.objid END
    )
ORDER BY 3
"""
