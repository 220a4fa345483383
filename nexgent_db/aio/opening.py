"""Transactions that begin with settings: BEGIN and the settings are one message, so they cost one round trip."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import generators
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus

from nexgent_db.aio.connection import PooledConnection, PooledTransaction
from nexgent_db.aio.scope import ScopeSettings


class _OpenedTransaction(PooledTransaction):
    """An outermost transaction, outside of a pipeline, that begins with a statement."""

    def __init__(self, connection: PooledConnection, settings: bytes) -> None:
        super().__init__(connection)
        self._settings = settings

    def _enter_gen(self) -> PQGen[None]:
        self.status = self.Status.ACTIVE
        self._push_savepoint()
        begin = self._conn._get_tx_start_command()
        self.pgconn.send_query(begin + b"; " + self._settings)
        for result in (yield from generators.execute(self.pgconn)):
            if result.status == ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result, encoding=self.pgconn._encoding)


@asynccontextmanager
async def begun(connection: PooledConnection, settings: bytes) -> AsyncIterator[None]:
    """A transaction of the connection that begins with this statement, if there is one. Raises psycopg.Error."""
    async with _OpenedTransaction(connection, settings) if settings else connection.transaction():
        yield


def opening(scope: ScopeSettings | None, statement_timeout_s: float | None, lock_timeout_s: float | None) -> bytes:
    """The statement that sets what a transaction sets at its start; empty when nothing is to be set."""
    timeouts = {"statement_timeout": statement_timeout_s, "lock_timeout": lock_timeout_s}
    limits = [(name, f"{max(1, round(seconds * 1000))}ms") for name, seconds in timeouts.items() if seconds is not None]
    values = (*limits, *(() if scope is None else scope.values))
    return ScopeSettings(values).statement if values else b""
