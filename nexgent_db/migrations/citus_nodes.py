"""What a cell needs on the nodes of Citus beside its tables: functions to push down, and one source of versions.

Citus moves tables. It calls a function of ours on the cell's node only when the function is distributed, and it knows
nothing of ``row_version_seq``, which no table's default uses. So each node has a sequence of this name, and only that
of the cell's node gives versions: the others are at their end. Two sources would give one version twice, or a later
change the lower one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg import sql

from nexgent_db.errors import MigrationError

__all__ = ["allow_versions", "groups", "nodes_of_cells", "push_down", "restrictive_policies"]

HEADROOM: Final = 1_000_000_000
"""How many versions a cell may give while it moves: the new node begins above them."""


def groups(conn: psycopg.Connection[Any]) -> Mapping[str, int]:
    """The nodes that take tables, as ``host:port``, and the group of each."""
    return dict(conn.execute(_NODES).fetchall())


def nodes_of_cells(conn: psycopg.Connection[Any]) -> Mapping[str, str]:
    """The node of each distributed schema."""
    return dict(conn.execute(_PLACES).fetchall())


def restrictive_policies(conn: psycopg.Connection[Any], name: str) -> int:
    """How many policies a schema has that Citus would make permissive on its nodes, so that they restrict nothing."""
    counted = conn.execute(_RESTRICTIVE, [name]).fetchone()
    return int(counted[0]) if counted else 0


def push_down(conn: psycopg.Connection[Any], name: str) -> int:
    """Make a cell's functions on its node, and let Citus call those in PL/pgSQL there; returns how many were new.

    Citus makes those that a table or a distributed function needs by itself, but sees no need inside of a body.
    """
    functions = conn.execute(_NOT_PUSHED_DOWN, [name]).fetchall()
    for oid, is_called in functions:
        conn.execute(
            "SELECT create_distributed_function(%s::regprocedure, colocate_with := "
            "CASE WHEN %s THEN quote_ident(%s) || '.agents' ELSE 'default' END)",
            [oid, is_called, name],
        )
    return len(functions)


def allow_versions(conn: psycopg.Connection[Any], name: str, *places: str) -> None:
    """Let these nodes give versions of the cell, the last of them above all that were given; no other node may.

    Raises MigrationError when a node does not answer.
    """
    known = groups(conn)
    allowed = [known[place] for place in places]
    sequence = sql.Identifier(name, "row_version_seq").as_string(conn)
    _everywhere(conn, f"DO $$ BEGIN CREATE SEQUENCE IF NOT EXISTS {sequence} START WITH 2; END $$")
    highest = max(map(int, _everywhere(conn, f"SELECT last_value FROM {sequence}")))  # noqa: S608
    first = highest + (HEADROOM if len(places) > 1 else 0)
    command = _ALLOW.format(
        sequence=sequence,
        literal=sql.Literal(sequence).as_string(conn),
        allowed=", ".join(map(str, allowed)),
        last=allowed[-1],
        first=first,
    )
    _everywhere(conn, command)


def _everywhere(conn: psycopg.Connection[Any], command: str) -> list[str]:
    """What each node answers. Raises MigrationError when one refuses."""
    rows = conn.execute("SELECT nodeid, success, result FROM run_command_on_all_nodes(%s)", [command]).fetchall()
    for node, success, result in rows:
        if not success:
            raise MigrationError(f"node {node} of Citus refused: {result}")
    return [str(result) for _, _, result in rows]


_ALLOW: Final = """
DO $$
DECLARE
    here int := (SELECT groupid FROM pg_dist_local_group);
    given bigint := (SELECT last_value FROM {sequence});
BEGIN
    IF here IN ({allowed}) THEN
        ALTER SEQUENCE {sequence} NO MAXVALUE;
        IF here = {last} THEN
            PERFORM setval({literal}, greatest(given, {first}));
        END IF;
    ELSE
        PERFORM setval({literal}, given);
        EXECUTE 'ALTER SEQUENCE {sequence} MAXVALUE ' || given;
    END IF;
END
$$
"""

_NODES: Final = """
SELECT nodename || ':' || nodeport, groupid
FROM pg_dist_node
WHERE noderole = 'primary' AND isactive AND shouldhaveshards
ORDER BY 1
"""

_RESTRICTIVE: Final = """
SELECT count(*)
FROM pg_policy AS p
INNER JOIN pg_class AS c ON c.oid = p.polrelid
WHERE c.relnamespace = quote_ident(%s)::regnamespace AND NOT p.polpermissive
"""

# All tables of a distributed schema are in one colocation group, whose shards are on one node.
_PLACES: Final = """
SELECT DISTINCT c.nspname::text, n.nodename || ':' || n.nodeport
FROM pg_dist_schema AS s
INNER JOIN pg_namespace AS c ON c.oid = s.schemaid
INNER JOIN pg_dist_partition AS t ON t.colocationid = s.colocationid
INNER JOIN pg_dist_shard AS h ON h.logicalrelid = t.logicalrelid
INNER JOIN pg_dist_placement AS p ON p.shardid = h.shardid
INNER JOIN pg_dist_node AS n ON n.groupid = p.groupid AND n.noderole = 'primary'
"""

_NOT_PUSHED_DOWN: Final = """
SELECT
    p.oid,
    l.lanname = 'plpgsql'
FROM pg_proc AS p
INNER JOIN pg_language AS l ON l.oid = p.prolang
LEFT JOIN pg_dist_object AS o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid
WHERE p.pronamespace = quote_ident(%s)::regnamespace
    AND p.prorettype <> 'trigger'::regtype
    AND (o.objid IS NULL OR (l.lanname = 'plpgsql' AND o.colocationid IS NULL))
ORDER BY p.oid
"""
