"""Reads the catalog of the current schema; a dozen queries, no lock, nothing written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import psycopg

from nexgent_db.errors import ConfigurationError
from nexgent_db.schema.catalog import Catalog, Column, Index, Sequence, Table, Trigger, unpinned
from nexgent_db.sessions import PINNED_VALUES

__all__ = ["read_catalog"]

_T = TypeVar("_T")


def read_catalog(conn: psycopg.Connection[Any]) -> Catalog:
    """The catalog of the first schema in the connection's search path.

    Raises ConfigurationError when no schema of the search path exists.
    """
    with conn.transaction(force_rollback=True):
        schema = _print_alike(conn)
        rows = _Rows(conn)
        return Catalog(
            enums={name: tuple(labels) for name, labels in rows(_ENUMS)},
            types=dict(rows(_TYPES)),
            sequences={name: Sequence(*of_it) for name, *of_it in rows(_SEQUENCES)},
            functions=_in_order(
                {name: unpinned(definition, schema) for name, definition in rows(_FUNCTIONS)}, rows(_CALLS)
            ),
            tables=_in_order(
                {name: Table(kind, partition, tuple(options)) for name, kind, partition, options in rows(_TABLES)},
                rows(_REFERENCES),
            ),
            columns=_columns(rows(_COLUMNS)),
            constraints={(table, name): _plain(definition) for table, name, definition in rows(_CONSTRAINTS)},
            indexes={
                name: Index(table, _plain(definition).replace(" USING btree (", " (", 1), valid)
                for name, table, definition, valid in rows(_INDEXES)
            },
            views=dict(rows(_VIEWS)),
            triggers={(table, name): Trigger(*of_it) for table, name, *of_it in rows(_TRIGGERS)},
            rules={(table, name): definition for table, name, definition in rows(_RULES)},
            comments=dict(rows(_COMMENTS)),
            schema=schema,
        )


def _print_alike(conn: psycopg.Connection[Any]) -> str:
    """Set, for this transaction, what changes the wording of definitions, and a search path of our schema alone.

    Returns the schema's name.
    """
    row = conn.execute("SELECT current_schema(), quote_ident(current_schema()), current_setting('search_path')")
    schema, quoted, path = row.fetchone() or (None, None, None)
    if schema is None:
        raise ConfigurationError(f"no schema of the search path ({path}) exists: CREATE SCHEMA first")
    conn.execute("SELECT set_config('search_path', %s, true)", [quoted])
    conn.execute(f"SELECT set_config(name, value, true) FROM {PINNED_VALUES}".encode())  # noqa: S608
    return str(schema)


class _Rows:
    def __init__(self, conn: psycopg.Connection[Any]) -> None:
        self._conn = conn

    def __call__(self, query: str) -> list[Any]:
        return self._conn.execute((_OURS + query).encode()).fetchall()


def _columns(rows: Iterable[Any]) -> dict[str, dict[str, Column]]:
    columns = dict[str, dict[str, Column]]()
    for table, name, type_, nullable, default, extra in rows:
        columns.setdefault(table, {})[name] = Column(
            type_, nullable, None if default is None else _plain(default), extra
        )
    return columns


def _in_order(found: Mapping[str, _T], needs: Iterable[tuple[str, str]]) -> dict[str, _T]:
    """The objects sorted by name, but each after its dependencies. In a cycle, one object comes before a dependency."""
    needed = dict[str, list[str]]()
    for name, other in needs:
        needed.setdefault(name, []).append(other)
    done = dict[str, _T]()
    begun = set[str]()

    def add(name: str) -> None:
        if name in begun or name not in found:
            return
        begun.add(name)
        for other in sorted(needed.get(name, ())):
            add(other)
        done[name] = found[name]

    for name in sorted(found):
        add(name)
    return done


# CHECK (x IN ('a', 'b')) of a varchar is printed as an array of varchar cast to text[] in the database that it was
# typed in, and as an array of casts in one that a dump was restored into.
_CAST_ARRAY: Final = re.compile(
    r"ARRAY\[('(?:[^']|'')*'::character varying(?:, '(?:[^']|'')*'::character varying)*)\]::text\[\]"
)
_CAST_ITEM: Final = re.compile(r"('(?:[^']|'')*')::character varying::text")


def _plain(definition: str) -> str:
    definition = _CAST_ARRAY.sub(
        lambda found: f"ARRAY[{found[1].replace('::character varying', '::text')}]", definition
    )
    return _CAST_ITEM.sub(r"\1::text", definition)


# --- The queries --------------------------------------------------------------------------------

# Every query uses these: the schema, its compared relations, and the objects of extensions. Partitions of our tables
# come and go with the time: nexgent-db partition check looks after them.
_OURS: Final = r"""
WITH ns AS (
    SELECT quote_ident(current_schema())::regnamespace::oid AS oid
),
brought AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
),
rel AS (
    SELECT c.*, quote_ident(c.relname) AS name
    FROM pg_class AS c
    INNER JOIN ns ON c.relnamespace = ns.oid
    WHERE c.relname NOT IN ('yoyo_lock', '_prisma_migrations')
      AND c.relname NOT LIKE ALL (ARRAY['\_yoyo\_%', '\_nexgent\_%'])
      AND NOT EXISTS (
          SELECT FROM pg_inherits AS i INNER JOIN pg_class AS p ON p.oid = i.inhparent
          WHERE i.inhrelid = c.oid AND c.relispartition AND p.relname IN (
              'agent_transactions', 'agent_historical_swaps', 'trade_requests', 'agent_balance_snapshots',
              'cache_outbox'
          )
      )
      AND ('pg_class'::regclass, c.oid) NOT IN (SELECT classid, objid FROM brought)
)
"""

_ENUMS: Final = """
SELECT quote_ident(t.typname), array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
FROM pg_type AS t
INNER JOIN ns ON t.typnamespace = ns.oid
INNER JOIN pg_enum AS e ON e.enumtypid = t.oid
WHERE ('pg_type'::regclass, t.oid) NOT IN (SELECT classid, objid FROM brought)
GROUP BY t.typname
ORDER BY 1
"""

_TYPES: Final = """
SELECT
    quote_ident(t.typname),
    CASE t.typtype
        WHEN 'd' THEN concat_ws(
            ' ',
            'CREATE DOMAIN ' || quote_ident(t.typname) || ' AS ' || format_type(t.typbasetype, t.typtypmod),
            CASE WHEN t.typnotnull THEN 'NOT NULL' END,
            'DEFAULT ' || t.typdefault,
            (SELECT string_agg('CONSTRAINT ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid, TRUE),
                               ' ' ORDER BY k.conname)
             FROM pg_constraint AS k WHERE k.contypid = t.oid AND k.contype = 'c')
        )
        WHEN 'r' THEN format('CREATE TYPE %I AS RANGE (SUBTYPE = %s)', t.typname,
                             (SELECT format_type(r.rngsubtype, NULL) FROM pg_range AS r WHERE r.rngtypid = t.oid))
        ELSE format('CREATE TYPE %I AS (%s)', t.typname,
                    (SELECT string_agg(quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod),
                                       ', ' ORDER BY a.attnum)
                     FROM pg_attribute AS a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
    END
FROM pg_type AS t
INNER JOIN ns ON t.typnamespace = ns.oid
LEFT JOIN pg_class AS c ON c.oid = t.typrelid
WHERE (t.typtype IN ('d', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
  AND ('pg_type'::regclass, t.oid) NOT IN (SELECT classid, objid FROM brought)
ORDER BY 1
"""

_SEQUENCES: Final = """
SELECT
    c.name,
    format('AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s CACHE %s %s',
           s.seqtypid::regtype, s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache,
           CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END),
    concat_ws(
        ' ',
        CASE WHEN s.seqtypid <> 'bigint'::regtype THEN 'AS ' || s.seqtypid::regtype END,
        CASE WHEN s.seqincrement <> 1 THEN 'INCREMENT ' || s.seqincrement END,
        CASE WHEN s.seqmin <> 1 THEN 'MINVALUE ' || s.seqmin END,
        CASE WHEN s.seqmax <> CASE s.seqtypid
                                  WHEN 'bigint'::regtype THEN 9223372036854775807
                                  WHEN 'integer'::regtype THEN 2147483647
                                  ELSE 32767
                              END THEN 'MAXVALUE ' || s.seqmax END,
        CASE WHEN s.seqstart <> 1 THEN 'START ' || s.seqstart END,
        CASE WHEN s.seqcache <> 1 THEN 'CACHE ' || s.seqcache END,
        CASE WHEN s.seqcycle THEN 'CYCLE' END
    ),
    owner.name || '.' || quote_ident(a.attname)
FROM pg_sequence AS s
INNER JOIN rel AS c ON c.oid = s.seqrelid
LEFT JOIN pg_depend AS d
    ON d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid
    AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
LEFT JOIN rel AS owner ON owner.oid = d.refobjid
LEFT JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.deptype IS DISTINCT FROM 'i' AND (d.refobjid IS NULL OR owner.oid IS NOT NULL)
ORDER BY 1
"""

# pg_get_functiondef names the schema in its first line, whatever the search path.
_FUNCTIONS: Final = """
SELECT
    p.oid::regprocedure::text,
    CASE p.prokind
        WHEN 'a' THEN 'CREATE AGGREGATE ' || p.oid::regprocedure
        ELSE rtrim(overlay(def.text PLACING '' FROM position(def.prefix IN def.text) FOR length(def.prefix)), E'\\n')
    END
FROM pg_proc AS p
INNER JOIN ns ON p.pronamespace = ns.oid
CROSS JOIN LATERAL (
    SELECT
        CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END AS text,
        quote_ident(current_schema()) || '.' AS prefix
) AS def
WHERE ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM brought)
ORDER BY 1
"""

_CALLS: Final = """
SELECT d.objid::regprocedure::text, d.refobjid::regprocedure::text
FROM pg_depend AS d
INNER JOIN pg_proc AS p ON p.oid = d.objid
INNER JOIN ns ON p.pronamespace = ns.oid
WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_proc'::regclass
"""

_TABLES: Final = """
SELECT
    c.name,
    CASE WHEN c.relkind = 'f' THEN 'FOREIGN TABLE' WHEN c.relpersistence = 'u' THEN 'UNLOGGED TABLE' ELSE 'TABLE' END,
    concat_ws(
        ' ',
        (SELECT 'PARTITION OF ' || i.inhparent::regclass || ' ' || pg_get_expr(c.relpartbound, c.oid)
         FROM pg_inherits AS i WHERE i.inhrelid = c.oid AND c.relispartition),
        'PARTITION BY ' || pg_get_partkeydef(c.oid)
    ),
    coalesce((SELECT array_agg(o ORDER BY o) FROM unnest(c.reloptions) AS o), '{}')
FROM rel AS c
WHERE c.relkind IN ('r', 'p', 'f')
"""

_REFERENCES: Final = """
SELECT DISTINCT c.name, quote_ident(r.relname)
FROM pg_constraint AS k
INNER JOIN rel AS c ON c.oid = k.conrelid
INNER JOIN pg_class AS r ON r.oid = k.confrelid AND r.relnamespace = c.relnamespace
WHERE k.contype = 'f'
"""

_COLUMNS: Final = """
SELECT
    c.name,
    quote_ident(a.attname),
    format_type(a.atttypid, a.atttypmod),
    NOT a.attnotnull,
    CASE a.attgenerated WHEN '' THEN pg_get_expr(d.adbin, d.adrelid, TRUE) END,
    concat_ws(
        ' ',
        CASE WHEN a.attcollation NOT IN (0, t.typcollation) THEN 'COLLATE ' || a.attcollation::regcollation END,
        CASE a.attidentity
            WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY' WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY'
        END,
        CASE a.attgenerated
            WHEN 's' THEN 'GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid, TRUE) || ') STORED'
            WHEN 'v' THEN 'GENERATED ALWAYS AS (' || pg_get_expr(d.adbin, d.adrelid, TRUE) || ') VIRTUAL'
        END
    )
FROM pg_attribute AS a
INNER JOIN rel AS c ON c.oid = a.attrelid
INNER JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.name, a.attnum
"""

# NOT NULL constraints ('n') are catalogued from PostgreSQL 18 on: the columns have them.
_CONSTRAINTS: Final = """
SELECT c.name, quote_ident(k.conname), pg_get_constraintdef(k.oid, TRUE)
FROM pg_constraint AS k
INNER JOIN rel AS c ON c.oid = k.conrelid
WHERE k.contype IN ('p', 'u', 'x', 'c', 'f')
ORDER BY c.name, position(k.contype::text IN 'puxcf'), 2
"""

_INDEXES: Final = """
SELECT c.name, t.name, pg_get_indexdef(c.oid, 0, TRUE), i.indisvalid
FROM pg_index AS i
INNER JOIN rel AS c ON c.oid = i.indexrelid
INNER JOIN rel AS t ON t.oid = i.indrelid
WHERE NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = c.oid AND k.contype IN ('p', 'u', 'x'))
ORDER BY 1
"""

_VIEWS: Final = """
SELECT
    c.name,
    CASE c.relkind WHEN 'm' THEN 'CREATE MATERIALIZED VIEW ' ELSE 'CREATE VIEW ' END || c.name
    || coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '')
    || ' AS' || E'\\n' || rtrim(pg_get_viewdef(c.oid, TRUE), ';')
FROM rel AS c
WHERE c.relkind IN ('v', 'm')
ORDER BY 1
"""

_TRIGGERS: Final = """
SELECT
    c.name,
    quote_ident(g.tgname),
    pg_get_triggerdef(g.oid, TRUE),
    CASE g.tgenabled
        WHEN 'O' THEN 'ENABLE' WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS'
    END
FROM pg_trigger AS g
INNER JOIN rel AS c ON c.oid = g.tgrelid
WHERE NOT g.tgisinternal
ORDER BY 1, 2
"""

_RULES: Final = """
SELECT c.name, quote_ident(r.rulename), rtrim(pg_get_ruledef(r.oid, TRUE), ';')
FROM pg_rewrite AS r
INNER JOIN rel AS c ON c.oid = r.ev_class
WHERE r.rulename <> '_RETURN'
ORDER BY 1, 2
"""

_COMMENTS: Final = """
SELECT named.object, o.description
FROM pg_description AS o
INNER JOIN (
    SELECT
        'pg_class'::regclass AS classoid,
        c.oid AS objoid,
        coalesce(a.attnum, 0) AS objsubid,
        CASE
            WHEN a.attnum IS NOT NULL THEN 'COLUMN ' || c.name || '.' || quote_ident(a.attname)
            ELSE CASE c.relkind
                WHEN 'v' THEN 'VIEW ' WHEN 'm' THEN 'MATERIALIZED VIEW ' WHEN 'S' THEN 'SEQUENCE ' WHEN 'c' THEN 'TYPE '
                WHEN 'i' THEN 'INDEX ' WHEN 'I' THEN 'INDEX ' WHEN 'f' THEN 'FOREIGN TABLE ' ELSE 'TABLE '
            END || c.name
        END AS object
    FROM rel AS c
    LEFT JOIN LATERAL (
        SELECT attnum, attname FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0
        UNION ALL
        SELECT NULL, NULL
    ) AS a ON TRUE
    UNION ALL
    SELECT
        'pg_proc'::regclass, p.oid, 0,
        CASE p.prokind WHEN 'a' THEN 'AGGREGATE ' WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || p.oid::regprocedure
    FROM pg_proc AS p
    INNER JOIN ns ON p.pronamespace = ns.oid
    WHERE ('pg_proc'::regclass, p.oid) NOT IN (SELECT classid, objid FROM brought)
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid, 0, 'CONSTRAINT ' || quote_ident(k.conname) || ' ON ' || c.name
    FROM pg_constraint AS k
    INNER JOIN rel AS c ON c.oid = k.conrelid
    UNION ALL
    SELECT 'pg_trigger'::regclass, g.oid, 0, 'TRIGGER ' || quote_ident(g.tgname) || ' ON ' || c.name
    FROM pg_trigger AS g
    INNER JOIN rel AS c ON c.oid = g.tgrelid
    UNION ALL
    SELECT
        'pg_type'::regclass, t.oid, 0,
        CASE t.typtype WHEN 'd' THEN 'DOMAIN ' ELSE 'TYPE ' END || quote_ident(t.typname)
    FROM pg_type AS t
    INNER JOIN ns ON t.typnamespace = ns.oid
    LEFT JOIN pg_class AS c ON c.oid = t.typrelid
    WHERE (t.typtype IN ('d', 'e', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
      AND ('pg_type'::regclass, t.oid) NOT IN (SELECT classid, objid FROM brought)
) AS named USING (classoid, objoid, objsubid)
ORDER BY 1
"""
