# Generated from nexgent_db/aio/wal.py by `make sync`: do not edit.
"""Where the server is in its write-ahead log, asked in the round trip of what it is asked for.

The position of a call on the primary is read after its COMMIT, and is where the primary inserts then: everything that
the call has written or seen stands before it. A position that does not arrive never fails a call: it is noted as
unknown, and asked for before the next read on a replica.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import Connection, Pipeline, generators
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus, Format

from nexgent_db._wal import HighWaterMark, WalPosition, lsn_of
from nexgent_db.sync.cursors import Cursor, acquire_cursor, release_cursor

if TYPE_CHECKING:
    from nexgent_db.sync.connection import PooledConnection

PRIMARY_POSITION: Final = (
    b"SELECT CASE WHEN pg_is_in_recovery() THEN NULL"
    b" ELSE pg_current_wal_insert_lsn()::text || ' ' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END"
)
"""NULL on a server that is no primary."""

REPLICA_POSITION: Final = b"""
SELECT
    pg_is_in_recovery(),
    CASE
        WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN pg_last_wal_replay_lsn()
        ELSE pg_last_wal_replay_lsn() + 1::numeric
    END::text
"""
"""Behind everything that an earlier statement of this session has seen. A commit is visible an instant before the
server counts it as applied: where more was received than applied, it may be the next one, so that counts as well."""

_DONE: Final = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class PrimaryTracker:
    """Notes the position of each call on the connections of the primary."""

    def __init__(self, mark: HighWaterMark) -> None:
        self.mark = mark

    def ask(self, connection: PooledConnection) -> Cursor:
        """In a pipeline: ask for the position after the statements that were sent, which are committed first."""
        assert connection._pipeline is not None
        connection._pipeline._enqueue_sync()
        cursor = acquire_cursor(connection, PRIMARY_POSITION, alone=True)
        cursor.execute(PRIMARY_POSITION)
        return cursor

    def note(self, cursor: Cursor | None) -> None:
        """Note the answer to :meth:`ask`, once the pipeline has ended. None: it could not be asked."""
        if cursor is None or cursor.pgresult is None:
            self.mark.unknown = True
            return
        self._note_result(cursor.pgresult)
        release_cursor(cursor, PRIMARY_POSITION, alone=True)

    def end_transaction(self, connection: TrackedConnection, command: bytes) -> PQGen[Any]:
        """Send COMMIT or ROLLBACK, and the question after it, in one round trip. Raises what the command raises."""
        connection._check_connection_ok()
        connection.pgconn.send_query(command + b"; " + PRIMARY_POSITION)
        ended, *positions = yield from generators.execute(connection.pgconn)
        if ended.status not in _DONE:
            raise psycopg.errors.error_from_result(ended, encoding=connection.pgconn._encoding)
        if positions and positions[0].status == ExecStatus.TUPLES_OK:
            self._note_result(positions[0])
        else:
            self.mark.unknown = True
        return ended

    def _note_result(self, result: Any) -> None:
        if (answer := result.get_value(0, 0)) is not None:
            self.mark.raise_to(WalPosition.of_primary(answer.decode()))


class SynchronizedPipeline(Pipeline):
    """The driver's pipeline, which sends no second Sync at its end, and counts nothing as prepared that was not.

    When a statement fails, the server skips those behind it. The driver takes one that was to be prepared for prepared
    nevertheless: its next execution would fail.
    """

    synchronized = False
    """Was the last statement followed by a Sync?"""
    _prepared_before = 0

    def _enter_gen(self) -> PQGen[None]:
        if self.level == 0:
            self._prepared_before = self._conn._prepared._prepared_idx
        return super()._enter_gen()  # no generator around the driver's: one that is interrupted would drop that

    def _exit(self, exc: BaseException | None) -> None:
        super()._exit(exc)
        prepared = self._conn._prepared
        if exc is not None and prepared._prepared_idx != self._prepared_before:
            prepared.clear()

    def receive_first(self, cursor: Cursor) -> PQGen[None]:
        """Send a Sync, and receive the answers up to this cursor's: the server was asked to flush it."""
        self._enqueue_sync()
        self.synchronized = True
        yield from self._communicate_gen()
        while cursor.pgresult is None and self.result_queue:
            results = yield from generators.fetch_many(self.pgconn)
            self._process_results(self.result_queue.popleft(), results)

    def _exit_gen(self) -> PQGen[None]:
        if self.synchronized:
            self.synchronized = False  # a connection uses its pipeline again
            return self._fetch_gen(flush=False)
        return super()._exit_gen()


class TrackedConnection(Connection[Any]):
    """A connection whose transactions note their position when they end."""

    tracker: PrimaryTracker | None = None
    """What notes the positions of this session's calls; None without replicas, and on these."""

    def _exec_command(self, command: Any, result_format: Any = Format.TEXT) -> PQGen[Any]:
        if self.tracker is None or command not in (b"COMMIT", b"ROLLBACK") or self._pipeline is not None:
            return super()._exec_command(command, result_format)
        return self.tracker.end_transaction(self, command)


def replica_position(answer: Any, timeline: int) -> WalPosition | None:
    """The position of an answer to REPLICA_POSITION; None when the server is no replica any more."""
    in_recovery, lsn = answer
    return WalPosition(timeline, lsn_of(lsn)) if in_recovery and lsn is not None else None
