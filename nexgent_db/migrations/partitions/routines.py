"""The functions and composite types whose signatures have a table's row type: made again when the table is another."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from nexgent_db.migrations.partitions.step import PartitionStep, quoted
from nexgent_db.migrations.partitions.tables import GrowingTable

__all__ = ["OLD", "Routine", "cleaning_after", "cleaning_steps", "restored_routines", "routines_of", "set_aside"]

OLD: Final = "_before_partitions"
"""What the functions of before are called while calls of them run."""

_Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Routine:
    """A function, or a composite type (``kind`` "t"), whose signature has the table's row type."""

    kind: str
    signature: str  # with the argument types, quoted
    name: str
    definition: str
    owner: str
    comment: str | None
    public_may: bool
    grants: tuple[str, ...]


def routines_of(conn: _Connection, table: str) -> list[Routine]:
    """The composite types and functions whose signatures have the table's row type, directly or by such a type: types
    first, each after those it needs."""
    return [
        Routine(kind, signature, name, definition, owner, comment, public_may, tuple(grants))
        for kind, signature, name, definition, owner, comment, public_may, grants in conn.execute(_ROUTINES, [table])
    ]


_ROUTINES: Final = """
WITH RECURSIVE needing AS (
    SELECT t.oid, t.typarray, 0 AS depth
    FROM pg_class AS c
    JOIN pg_type AS t ON t.oid = c.reltype
    WHERE c.oid = to_regclass(quote_ident(%s))
    UNION
    SELECT t.oid, t.typarray, n.depth + 1
    FROM needing AS n
    JOIN pg_attribute AS a ON a.atttypid IN (n.oid, n.typarray) AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind = 'c'
    JOIN pg_type AS t ON t.oid = c.reltype
),

found AS (
    SELECT
        't' AS kind,
        c.oid,
        quote_ident(c.relname) AS signature,
        c.relname::text AS name,
        format(
            'CREATE TYPE %%I AS (%%s)', c.relname,
            (
                SELECT string_agg(
                    quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attnum
                )
                FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            )
        ) AS definition,
        t.typowner AS owner,
        obj_description(t.oid, 'pg_type') AS comment,
        t.typacl AS acl,
        max(n.depth) AS depth
    FROM needing AS n
    JOIN pg_type AS t ON t.oid = n.oid
    JOIN pg_class AS c ON c.oid = t.typrelid AND c.relkind = 'c'
    GROUP BY c.oid, c.relname, t.oid, t.typowner, t.typacl
    UNION ALL
    SELECT DISTINCT ON (p.oid)
        CASE p.prokind WHEN 'p' THEN 'p' ELSE 'f' END,
        p.oid,
        p.oid::regprocedure::text,
        p.proname::text,
        pg_get_functiondef(p.oid),
        p.proowner,
        obj_description(p.oid, 'pg_proc'),
        p.proacl,
        1000
    FROM needing AS n
    JOIN pg_proc AS p
        ON p.prorettype IN (n.oid, n.typarray)
        OR ARRAY[n.oid, n.typarray] && (p.proargtypes::oid[] || coalesce(p.proallargtypes, '{}'))
    WHERE p.prokind IN ('f', 'p', 'w')
)

SELECT
    f.kind,
    f.signature,
    f.name,
    f.definition,
    f.owner::regrole::text,
    f.comment,
    f.acl IS NULL OR EXISTS (SELECT FROM aclexplode(f.acl) AS x WHERE x.grantee = 0),
    ARRAY(
        SELECT format(
            '%%s TO %%s%%s', x.privilege_type, x.grantee::regrole,
            CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
        )
        FROM aclexplode(f.acl) AS x
        WHERE x.grantee NOT IN (0, f.owner)
        ORDER BY 1
    )
FROM found AS f
ORDER BY f.depth, f.signature
"""


def set_aside(routines: Sequence[Routine]) -> Iterator[str]:
    """Rename the types and functions: calls that are running go on in them."""
    for each in routines:
        kind = {"t": "TYPE", "p": "PROCEDURE"}.get(each.kind, "FUNCTION")
        yield f"ALTER {kind} {each.signature} RENAME TO {each.name}{OLD}"


def restored_routines(routines: Sequence[Routine]) -> Iterator[str]:
    """Make the types and functions again, whose signatures now have the new table's row type."""
    for each in routines:
        kind = {"t": "TYPE", "p": "PROCEDURE"}.get(each.kind, "FUNCTION")
        yield each.definition.rstrip()
        yield f"ALTER {kind} {each.signature} OWNER TO {each.owner}"
        if each.comment is not None:
            yield f"COMMENT ON {kind} {each.signature} IS {quoted(each.comment)}"
        if not each.public_may:
            yield f"REVOKE ALL ON {kind} {each.signature} FROM PUBLIC"
        for grant in each.grants:
            privilege, _, to = grant.partition(" TO ")
            yield f"GRANT {privilege} ON {kind} {each.signature} TO {to}"


def cleaning_steps(conn: _Connection) -> list[PartitionStep]:
    """The functions of before, once no call of them can run any more."""
    rows = conn.execute(
        f"""
        SELECT 0, format('DROP %s %s', CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, oid::regprocedure)
        FROM pg_proc WHERE proname LIKE '%{OLD}' AND pronamespace = quote_ident(current_schema())::regnamespace
        UNION ALL
        SELECT 2, format('DROP TABLE %I', relname)
        FROM pg_class
        WHERE relname LIKE '%{OLD}' AND relkind = 'p' AND relnamespace = quote_ident(current_schema())::regnamespace
        UNION ALL
        SELECT 1, format('DROP TYPE %I', relname)
        FROM pg_class
        WHERE relname LIKE '%{OLD}' AND relkind = 'c' AND relnamespace = quote_ident(current_schema())::regnamespace
        ORDER BY 1
        """.encode()  # noqa: S608
    ).fetchall()
    return [_dropping([text for _, text in rows])] if rows else []


def cleaning_after(conn: _Connection, table: GrowingTable) -> PartitionStep:
    """The same, as it will be after the swap."""
    old = {each.name: each for each in routines_of(conn, table.name)}
    signatures: list[str] = []
    for each in old.values():
        signature = each.signature
        for name, other in old.items():
            if other.kind == "t":
                signature = re.sub(rf"\b{name}\b", f"{name}{OLD}", signature)
        signature = re.sub(rf"\b{table.name}\b", table.first, signature)
        kind = {"t": "TYPE", "p": "PROCEDURE"}.get(each.kind, "FUNCTION")
        renamed = signature if each.kind == "t" else signature.replace(f"{each.name}(", f"{each.name}{OLD}(", 1)
        signatures.append(f"DROP {kind} {renamed}")
    return _dropping(sorted(signatures))


def _dropping(statements: Sequence[str]) -> PartitionStep:
    return PartitionStep(
        "drop the functions of before",
        "Calls of them may still run: it waits for the transactions that are older than itself.",
        tuple(statements),
        "wait",
    )
