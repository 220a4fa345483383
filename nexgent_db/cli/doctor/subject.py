"""What the doctor looks at: one schema of one database, and its Redis, over read-only sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, TypeVar

from psycopg.conninfo import make_conninfo

from nexgent_db.cache.keys import CacheKeys, prefix_of_schema
from nexgent_db.errors import DatabaseUnavailable, NexgentError
from nexgent_db.settings import Settings, libpq_parameters, with_schema
from nexgent_db.sync.cache.inspection import CacheInspection
from nexgent_db.sync.cache.queries import CacheQueries
from nexgent_db.sync.database import Database
from nexgent_db.sync.doctor import DoctorQueries

__all__ = ["SHOWN", "DoctorFinding", "DoctorSubject", "Level", "Thresholds", "some"]

T = TypeVar("T")
Level = Literal["ok", "warning", "problem"]

SHOWN: Final = 5
"""How many names a message shows."""
_READ_ONLY: Final = "-cdefault_transaction_read_only=on"


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """What one check found, and what to do about it. ``cell`` is the schema that it is about, if one was named."""

    check: str
    level: Level
    message: str
    remedy: str | None = None
    cell: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """From where on something is a warning or a problem. Times are seconds."""

    clock_warning_s: float = 1.0
    clock_problem_s: float = 30.0
    transaction_warning_s: float = 300.0
    transaction_problem_s: float = 3600.0
    lag_warning_s: float = 60.0
    lag_problem_s: float = 7200.0
    dead_rows: int = 10_000
    dead_share: float = 0.5
    sample: int = 500


class DoctorSubject:
    """One schema. Sessions are read-only, and each call takes ``limit_s`` and two seconds at most."""

    def __init__(
        self,
        settings: Settings,
        *,
        migrations: Mapping[str, Path],
        limit_s: float,
        thresholds: Thresholds,
        cell: str | None = None,
    ) -> None:
        self.settings = settings
        self.migrations = migrations
        self.thresholds = thresholds
        self.cell = cell or settings.schema
        self.limit_s = limit_s
        asked = libpq_parameters(settings.conninfo).get("options", "")
        self.conninfo = make_conninfo(settings.conninfo, options=f"{asked} {_READ_ONLY}".strip())
        self._database: Database | None = None
        self._gone: DatabaseUnavailable | None = None
        self._inspection: CacheInspection | None = None

    def of_cell(self, name: str) -> DoctorSubject:
        """Another schema of the same database."""
        settings = replace(self.settings, conninfo=with_schema(self.settings.conninfo, name), schema=name)
        return DoctorSubject(
            settings, migrations=self.migrations, limit_s=self.limit_s, thresholds=self.thresholds, cell=name
        )

    @property
    def database(self) -> Database:
        """The open database, without its cache. Raises what opening raises; a server that is gone is asked once."""
        if self._gone is not None:
            raise self._gone
        if self._database is None:
            database = self.opened_as()
            try:
                database.open()
            except DatabaseUnavailable as error:
                self._gone = error
                raise
            self._database = database
        return self._database

    def opened_as(self, role: str | None = None) -> Database:
        """A database that is not open yet; its sessions start as ``role``."""
        conninfo = self.conninfo
        if role is not None:
            asked = libpq_parameters(conninfo).get("options", "")
            conninfo = make_conninfo(conninfo, options=f"{asked} -crole={role}")
        settings = replace(
            self.settings,
            conninfo=conninfo,
            replica_conninfos=(),
            redis_url=None,
            pool_min_size=1,
            pool_max_size=2,
            statement_timeout_s=self.limit_s,
            lock_timeout_s=min(self.limit_s, self.settings.lock_timeout_s),
        )
        return Database(settings, migrations=self.migrations)

    def read(self, function: Callable[[DoctorQueries], T]) -> T:
        """The result of some queries in one read-only transaction."""
        with self.database.transaction(read_only=True) as tx:
            return function(tx.use(DoctorQueries))

    @property
    def inspection(self) -> CacheInspection | None:
        """A look at Redis; None without one. Raises ConfigurationError for its URL."""
        url = self.settings.redis_url
        if url is not None and self._inspection is None:
            prefix = prefix_of_schema(self.settings.cache_prefix, self.settings.schema)
            self._inspection = CacheInspection(url, CacheKeys(prefix), CacheQueries(self.database._session))
        return self._inspection

    def close(self) -> None:
        """Close the connections. Never raises."""
        with suppress(NexgentError):
            if self._inspection is not None:
                self._inspection.close()
            if self._database is not None:
                self._database.close(0)


def some(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
