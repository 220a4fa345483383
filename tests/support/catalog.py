"""Reads what a database is made of as plain data, so that two databases, or one before and after, can be compared.

yoyo's tables are left out. Everything is keyed by name and worded by PostgreSQL itself (``pg_get_constraintdef`` and
its like), without the schema's name: catalogs of two schemas can be compared as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import psycopg

YOYO_TABLES = ("_yoyo_log", "_yoyo_migration", "_yoyo_version", "yoyo_lock")


@dataclass(frozen=True)
class Column:
    """One column: its type as ``format_type`` prints it, and its default as ``pg_get_expr`` does."""

    type: str
    nullable: bool
    default: str | None = None
    extra: str = ""  # identity or generated

    def __str__(self) -> str:
        null = "" if self.nullable else " NOT NULL"
        default = "" if self.default is None else f" DEFAULT {self.default}"
        return f"{self.type}{null}{default}{self.extra}"


@dataclass(frozen=True)
class Catalog:
    """A schema's objects by name. ``columns`` keeps each table's columns in their order."""

    columns: Mapping[str, Mapping[str, Column]]
    tables: Mapping[str, str]  # persistence, row security, options
    constraints: Mapping[str, str]  # "table.name" -> definition
    indexes: Mapping[str, str]  # name -> definition
    enums: Mapping[str, tuple[str, ...]]
    sequences: Mapping[str, str]
    functions: Mapping[str, str]  # signature -> definition
    triggers: Mapping[str, str]  # "table.name" -> definition
    views: Mapping[str, str]
    types: Mapping[str, str]  # domains, composites, ranges
    comments: Mapping[str, str]

    def without_column_order(self) -> Catalog:
        """The same, with each table's columns sorted by name: for a column that a rollback had to re-add."""
        return replace(self, columns={t: dict(sorted(c.items())) for t, c in self.columns.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Catalog) and not differences(self, other)

    __hash__ = None  # type: ignore[assignment]


def differences(expected: Catalog, actual: Catalog) -> list[str]:
    """One readable line for each difference; empty when the two are equal, column order included."""
    lines = []
    for field in fields(Catalog):
        before, after = getattr(expected, field.name), getattr(actual, field.name)
        if field.name == "columns":
            before, after = _flattened(before), _flattened(after)
            lines += _order_differences(expected, actual)
        for name in sorted(before.keys() | after.keys()):
            if name not in after:
                lines.append(f"{field.name}: {name} is missing: {before[name]}")
            elif name not in before:
                lines.append(f"{field.name}: {name} is not expected: {after[name]}")
            elif before[name] != after[name]:
                lines.append(f"{field.name}: {name} is {after[name]}, expected {before[name]}")
    return lines


def _flattened(columns: Mapping[str, Mapping[str, Column]]) -> dict[str, Column]:
    return {f"{table}.{name}": column for table, of_table in columns.items() for name, column in of_table.items()}


def _order_differences(expected: Catalog, actual: Catalog) -> list[str]:
    return [
        f"columns: {table} is in the order {', '.join(actual.columns[table])}, expected {', '.join(columns)}"
        for table, columns in expected.columns.items()
        if table in actual.columns
        and columns.keys() == actual.columns[table].keys()
        and list(columns) != list(actual.columns[table])
    ]


def read_catalog(conn: psycopg.Connection[Any]) -> Catalog:
    """What the current schema holds. Takes no locks beyond those of reading."""
    with conn.transaction(force_rollback=True):
        return Catalog(
            columns=_columns(conn),
            tables=_pairs(conn, _TABLES),
            constraints=_pairs(conn, _CONSTRAINTS),
            indexes=_pairs(conn, _INDEXES),
            enums={name: tuple(labels) for name, labels in _rows(conn, _ENUMS)},
            sequences=_pairs(conn, _SEQUENCES),
            functions=_pairs(conn, _FUNCTIONS),
            triggers=_pairs(conn, _TRIGGERS),
            views=_pairs(conn, _VIEWS),
            types=_pairs(conn, _TYPES),
            comments=_pairs(conn, _COMMENTS),
        )


def _rows(conn: psycopg.Connection[Any], query: str) -> list[Any]:
    return conn.execute(_OURS + query, {"yoyo": list(YOYO_TABLES)}).fetchall()


def _pairs(conn: psycopg.Connection[Any], query: str) -> dict[str, str]:
    pairs = dict[str, str]()
    for name, definition in _rows(conn, query):
        assert name not in pairs, f"two objects are called {name}"
        pairs[name] = definition
    return pairs


def _columns(conn: psycopg.Connection[Any]) -> dict[str, dict[str, Column]]:
    columns = dict[str, dict[str, Column]]()
    for table, name, *column in _rows(conn, _COLUMNS):
        columns.setdefault(table, {})[name] = Column(*column)
    return columns


# Every query sees these two: the relations and the namespace that count.
_OURS = """
WITH ns AS (
    SELECT quote_ident(current_schema())::regnamespace::oid AS oid
),
rel AS (
    SELECT c.*
    FROM pg_class AS c
    INNER JOIN ns ON c.relnamespace = ns.oid
    WHERE c.relname <> ALL (%(yoyo)s)
)
"""

_COLUMNS = """
SELECT
    c.relname,
    a.attname,
    format_type(a.atttypid, a.atttypmod),
    NOT a.attnotnull,
    pg_get_expr(d.adbin, d.adrelid),
    CASE a.attidentity WHEN 'a' THEN ' IDENTITY ALWAYS' WHEN 'd' THEN ' IDENTITY BY DEFAULT' ELSE '' END
    || CASE a.attgenerated WHEN '' THEN '' ELSE ' GENERATED ' || a.attgenerated::text END
    || CASE WHEN a.attcollation NOT IN (0, t.typcollation) THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END
FROM pg_attribute AS a
INNER JOIN rel AS c ON c.oid = a.attrelid
INNER JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
"""

_TABLES = """
SELECT
    c.relname,
    concat_ws(
        ' ',
        c.relkind,
        c.relpersistence,
        CASE WHEN c.relrowsecurity THEN 'row security' END,
        CASE WHEN c.relforcerowsecurity THEN 'forced' END,
        array_to_string(c.reloptions, ',')
    )
FROM rel AS c
WHERE c.relkind IN ('r', 'p', 'f')
"""

# NOT NULL constraints are catalogued from PostgreSQL 18 on; the columns tell.
_CONSTRAINTS = """
SELECT
    c.relname || '.' || k.conname,
    pg_get_constraintdef(k.oid)
FROM pg_constraint AS k
INNER JOIN rel AS c ON c.oid = k.conrelid
WHERE k.contype <> 'n'
"""

_INDEXES = """
SELECT
    c.relname,
    pg_get_indexdef(c.oid, 0, TRUE) || CASE WHEN i.indisvalid THEN '' ELSE ' INVALID' END
FROM pg_index AS i
INNER JOIN pg_class AS c ON c.oid = i.indexrelid
INNER JOIN rel AS t ON t.oid = i.indrelid
"""

_ENUMS = """
SELECT
    t.typname,
    array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
FROM pg_type AS t
INNER JOIN ns ON t.typnamespace = ns.oid
INNER JOIN pg_enum AS e ON e.enumtypid = t.oid
GROUP BY t.typname
"""

_SEQUENCES = """
SELECT
    c.relname,
    format(
        '%%s start %%s by %%s%%s owned by %%s',
        format_type(s.seqtypid, NULL),
        s.seqstart,
        s.seqincrement,
        CASE WHEN s.seqcycle THEN ' cycle' ELSE '' END,
        coalesce(d.refobjid::regclass::text || '.' || a.attname, 'nothing')
    )
FROM pg_sequence AS s
INNER JOIN rel AS c ON c.oid = s.seqrelid
LEFT JOIN pg_depend AS d
    ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.deptype IN ('a', 'i')
    AND d.refclassid = 'pg_class'::regclass
LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
"""

_FUNCTIONS = """
SELECT
    p.oid::regprocedure::text,
    CASE p.prokind
        WHEN 'a' THEN 'aggregate'
        ELSE replace(pg_get_functiondef(p.oid), quote_ident(current_schema()) || '.', '')
    END
FROM pg_proc AS p
INNER JOIN ns ON p.pronamespace = ns.oid
"""

_TRIGGERS = """
SELECT
    c.relname || '.' || g.tgname,
    pg_get_triggerdef(g.oid, TRUE) || CASE g.tgenabled WHEN 'O' THEN '' ELSE ' enabled ' || g.tgenabled::text END
FROM pg_trigger AS g
INNER JOIN rel AS c ON c.oid = g.tgrelid
WHERE NOT g.tgisinternal
UNION ALL
SELECT
    c.relname || '.' || p.polname,
    concat_ws(' ', 'policy', p.polcmd, pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid))
FROM pg_policy AS p
INNER JOIN rel AS c ON c.oid = p.polrelid
"""

_VIEWS = """
SELECT
    c.relname,
    c.relkind::text || ' ' || pg_get_viewdef(c.oid)
FROM rel AS c
WHERE c.relkind IN ('v', 'm')
"""

_TYPES = """
SELECT
    t.typname,
    t.typtype::text || ' ' || coalesce(format_type(nullif(t.typbasetype, 0), t.typtypmod), '')
    || coalesce((SELECT string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
                 FROM pg_constraint AS k WHERE k.contypid = t.oid), '')
FROM pg_type AS t
INNER JOIN ns ON t.typnamespace = ns.oid
WHERE t.typtype IN ('d', 'r')
   OR (t.typtype = 'c' AND EXISTS (SELECT 1 FROM pg_class AS c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
"""

_COMMENTS = """
SELECT
    pg_describe_object(o.classoid, o.objoid, o.objsubid),
    o.description
FROM pg_description AS o
INNER JOIN rel AS c ON c.oid = o.objoid
WHERE o.classoid = 'pg_class'::regclass
UNION ALL
SELECT
    pg_describe_object(o.classoid, o.objoid, o.objsubid),
    o.description
FROM pg_description AS o
INNER JOIN pg_proc AS p ON p.oid = o.objoid
INNER JOIN ns ON p.pronamespace = ns.oid
WHERE o.classoid = 'pg_proc'::regclass
"""
