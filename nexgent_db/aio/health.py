"""The health check: asks the server, the history tables and the outbox over one connection of the pool."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psycopg

from nexgent_db.aio.cache.queries import CacheQueries
from nexgent_db.aio.connection import PooledConnection
from nexgent_db.aio.pool import ConnectionPool, Lease, PoolStats
from nexgent_db.aio.schema import assert_schema
from nexgent_db.aio.scope import RowScope
from nexgent_db.aio.session import TransactionSession
from nexgent_db.errors import (
    DatabaseError,
    DatabaseUnavailable,
    PoolExhausted,
    SchemaNotReady,
    TooManyConnections,
    translate,
)
from nexgent_db.models.health import Health, HealthState
from nexgent_db.models.replicas import ReplicaHealth

OUTBOX_LAG_S: Final = 7200.0
"""The age of a change that no process relays, or compacts without Redis: that happens after an hour."""
WARN_AGAIN_S: Final = 3600.0
_LOG: Final = logging.getLogger("nexgent_db")


class HealthCheck:
    """The health checks of one database object."""

    def __init__(self) -> None:
        self._warn_at = 0.0

    async def run(
        self,
        lease: Lease,
        pool: ConnectionPool | None,
        limit_s: float,
        migrations: Mapping[str, Path],
        scope: RowScope,
        replicas: tuple[ReplicaHealth, ...],
    ) -> Health:
        """The health of the scope's schema, each answer within ``limit_s``. Raises BlockMisuse for a closed pool."""
        started = time.perf_counter()
        round_trip_s: float | None = None
        error: DatabaseError | None = None
        version, read_only, lag_s = None, False, None
        try:
            connection = await lease.acquire()
            connection.limit_s = limit_s
            await connection.execute("SELECT 1")
            round_trip_s = time.perf_counter() - started
            version, read_only = connection.info.server_version, connection.accepts_no_writes()
            settings = await scope.enter(connection)
            if settings is None:
                lag_s = await _ensure_usable(connection, migrations)
            else:
                async with connection.transaction():
                    await connection.execute(settings.statement)
                    lag_s = await _ensure_usable(connection, migrations)
        except psycopg.Error as failed:
            translated = translate(failed)
            error = translated if isinstance(translated, DatabaseError) else DatabaseError(str(translated))
        except DatabaseError as failed:
            error = failed
        finally:
            lease.over = True
            lease.release()
        stats = PoolStats(0, 0, 0) if pool is None else pool.stats()
        return Health(
            state=_state(error, read_only),
            problem=None if error is None else str(error),
            error=None if error is None else type(error).__name__,
            server_version=version,
            round_trip_s=time.perf_counter() - started if round_trip_s is None else round_trip_s,
            pool_size=stats.size,
            pool_available=stats.available,
            requests_waiting=stats.waiting,
            outbox_lag_s=lag_s,
            warnings=self._warnings(lag_s),
            replicas=replicas,
        )

    def _warnings(self, lag_s: float | None) -> tuple[str, ...]:
        """Warns in the log, too, once in WARN_AGAIN_S."""
        if lag_s is None or lag_s < OUTBOX_LAG_S:
            return ()
        warning = (
            f"the oldest change in cache_outbox has waited for {lag_s / 3600:.0f} hours: no process relays the outbox,"
            " and it grows. Run nexgent-db cache relay --follow, or db.cache.maintenance.run(), with Redis or without"
        )
        if time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + WARN_AGAIN_S
            _LOG.warning("%s", warning)
        return (warning,)


async def _ensure_usable(connection: PooledConnection, migrations: Mapping[str, Path]) -> float | None:
    """The outbox's lag. Raises SchemaNotReady when migrations are pending, DatabaseUnavailable.

    It is None when the tables cannot be read now: the role has no right to, or a migration has locked them.
    """
    session = TransactionSession(connection)
    try:
        await assert_schema(session, migrations, may_be_newer=True)
        return await CacheQueries(session).age_of_changes()
    except (SchemaNotReady, DatabaseUnavailable):
        raise
    except DatabaseError:
        return None


def _state(error: DatabaseError | None, read_only: bool) -> HealthState:
    if isinstance(error, PoolExhausted | TooManyConnections):
        return "full"
    if isinstance(error, SchemaNotReady):
        return "schema not ready"
    if error is not None:
        return "gone"
    return "read only" if read_only else "ok"
