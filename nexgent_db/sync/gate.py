# Generated from nexgent_db/aio/gate.py by `make sync`: do not edit.
"""The gate: the first statement of a read, which waits until the server shows what the caller has written or read.

A standby makes a commit visible before it counts it as applied, so what a later statement sees is behind the gate.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import psycopg
from psycopg import RawCursor

from nexgent_db._wal import HighWaterMark, WalPosition, lsn_of, lsn_text
from nexgent_db.sync.connection import PooledConnection

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


_ENDED: Final = b"""
WITH RECURSIVE running (xids) AS (
    SELECT array_agg(transactionid::text)
    FROM pg_locks
    WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted AND pid IS NOT NULL
    UNION ALL
    SELECT (
        SELECT array_agg(l.transactionid::text)
        FROM pg_locks AS l
        WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.transactionid::text = ANY(running.xids)
    )
    FROM running
    WHERE CASE
        WHEN running.xids IS NOT NULL AND clock_timestamp() < statement_timestamp() + make_interval(secs => $1)
            THEN pg_sleep(0.001) IS NOT NULL
        ELSE false
    END
)
SELECT bool_or(xids IS NULL), set_config('transaction_read_only', 'on', true)
FROM running
"""
"""Have all transactions ended that were changing rows? Each holds a lock on its own id until its commit is visible."""


class Gate(NamedTuple):
    """The first statement of a read; ``limit_s`` is how long its answer may take, None for the usual limit.

    ``confirms`` is what the primary shows when the gate's answer is true.
    """

    text: bytes
    parameters: tuple[Any, ...]
    limit_s: float | None = None
    confirms: WalPosition | None = None

    @classmethod
    def of_replica(cls, needed: WalPosition, wait_s: float) -> Gate:
        """The gate of a replica, which waits for this position for ``wait_s`` at most."""
        return cls(_GATE, (lsn_text(needed.lsn), wait_s), wait_s + PROBE_LIMIT_S)

    @classmethod
    def of_primary(cls, mark: HighWaterMark, wait_s: float) -> Gate:
        """The gate of the primary: read-only, and not behind what a replica has shown the caller.

        A standby may show a commit before the primary does, by as long as the commit waits for a synchronous standby.
        So this waits for the transactions that may be about to commit, for ``wait_s`` at most.
        """
        if (position := mark.unconfirmed) is None:
            return cls(b"SELECT true, set_config('transaction_read_only', 'on', true)", ())
        return cls(_ENDED, (wait_s,), None, position)


class GateClosed(Exception):
    """The server is no standby, or was not up to date in time; its message says which."""


def pass_gate(connection: PooledConnection, gate: Gate) -> Any:
    """The gate alone, before a transaction: that has its snapshot from its first query. Returns its answer.

    Raises GateClosed, psycopg.Error.
    """
    usual_s = connection.limit_s
    if gate.limit_s is not None:
        connection.limit_s = gate.limit_s
    try:
        row = RawCursor(connection).execute(gate.text, gate.parameters).fetchone()
    except psycopg.Error as error:
        raise (GateClosed(str(error)) if error.sqlstate == NOT_A_BOOLEAN else error) from None
    connection.limit_s = usual_s
    return row


def applied(connection: PooledConnection, needed: WalPosition, wait_s: float) -> int:
    """How far a standby has applied the log, after it waited for the position. Raises psycopg.Error."""
    cursor = RawCursor(connection).execute(_APPLIED, (lsn_text(needed.lsn), wait_s))
    row = cursor.fetchone()
    return lsn_of(row[0]) if row is not None and row[0] is not None else 0
