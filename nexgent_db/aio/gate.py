"""The gate: the first statement of a read, which waits on a replica until that has applied the log up to a position.

A standby makes a commit visible before it counts it as applied, so what a later statement sees is behind the gate.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import psycopg
from psycopg import AsyncRawCursor

from nexgent_db._wal import WalPosition, lsn_of, lsn_text
from nexgent_db.aio.connection import PooledConnection

PROBE_LIMIT_S: Final = 1.0
"""How long a replica may take for the answer that shows its state, besides the time that it waits."""
NOT_A_BOOLEAN: Final = "22P02"
NO_STANDBY: Final = "no standby: "

_WAITED: Final = b"""
WITH RECURSIVE waited (lsn) AS (
    SELECT pg_last_wal_replay_lsn()
    UNION ALL
    SELECT pg_last_wal_replay_lsn()
    FROM waited
    WHERE CASE
        WHEN waited.lsn < $1::pg_lsn AND clock_timestamp() < statement_timestamp() + make_interval(secs => $2)
            THEN pg_sleep(0.001) IS NOT NULL
        ELSE false
    END
)
"""

_GATE: Final = (
    _WAITED
    + b"""
SELECT
    CASE
        WHEN NOT pg_is_in_recovery() THEN ('no standby: ' || coalesce(max(lsn)::text, 'a primary'))::boolean
        WHEN max(lsn) < $1::pg_lsn THEN ('behind ' || $1::pg_lsn::text || ', at ' || max(lsn)::text)::boolean
        ELSE true
    END,
    max(lsn)::text,
    set_config('transaction_read_only', 'on', true)
FROM waited
"""
)
"""Fails with a boolean that is none, which the server's log shows; the aggregate in it keeps the planner from trying. A
standby that is promoted meanwhile still only reads."""

_APPLIED: Final = _WAITED + b"SELECT max(lsn)::text FROM waited"


class Gate(NamedTuple):
    """The first statement of a read; ``limit_s`` is how long its answer may take, None for the usual limit."""

    text: bytes
    parameters: tuple[Any, ...]
    limit_s: float | None

    @classmethod
    def of_replica(cls, needed: WalPosition, wait_s: float) -> Gate:
        """The gate of a replica, which waits for this position for ``wait_s`` at most."""
        return cls(_GATE, (lsn_text(needed.lsn), wait_s), wait_s + PROBE_LIMIT_S)


PRIMARY_GATE: Final = Gate(b"SELECT set_config('transaction_read_only', 'on', true)", (), None)


class GateClosed(Exception):
    """The server is no standby, or was not up to date in time; its message says which."""


async def pass_gate(connection: PooledConnection, gate: Gate) -> None:
    """The gate alone, before a transaction: that has its snapshot from its first query.

    Raises GateClosed, psycopg.Error.
    """
    limit_s, connection.limit_s = connection.limit_s, gate.limit_s
    try:
        await AsyncRawCursor(connection).execute(gate.text, gate.parameters)
    except psycopg.Error as error:
        raise (GateClosed(str(error)) if error.sqlstate == NOT_A_BOOLEAN else error) from None
    connection.limit_s = limit_s


async def applied(connection: PooledConnection, needed: WalPosition, wait_s: float) -> int:
    """How far a standby has applied the log, after it waited for the position. Raises psycopg.Error."""
    cursor = await AsyncRawCursor(connection).execute(_APPLIED, (lsn_text(needed.lsn), wait_s))
    row = await cursor.fetchone()
    return lsn_of(row[0]) if row is not None and row[0] is not None else 0
