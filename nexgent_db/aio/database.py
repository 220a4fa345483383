"""The object that a service opens: a connection pool, its repositories and trades, and transactions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, NoReturn, Self, TypeVar
from uuid import UUID
from weakref import ReferenceType, ref

import psycopg
from psycopg import IsolationLevel
from psycopg.pq import TransactionStatus

from nexgent_db._concurrency import async_caller
from nexgent_db._wal import HighWaterMark
from nexgent_db.aio.access import Repositories
from nexgent_db.aio.cache import AsyncCache
from nexgent_db.aio.closing import Ending
from nexgent_db.aio.connection import PooledConnection
from nexgent_db.aio.health import HealthCheck
from nexgent_db.aio.observed import ObservedSession, observed_commit
from nexgent_db.aio.pool import ConnectionPool, Lease
from nexgent_db.aio.reader import AsyncReader
from nexgent_db.aio.reading import ReadingSession
from nexgent_db.aio.replicas import ReplicaSet
from nexgent_db.aio.schema import assert_schema, explain_cell
from nexgent_db.aio.scope import RowScope
from nexgent_db.aio.session import CachedSession, PoolSession, Session
from nexgent_db.aio.transaction import AsyncTransaction
from nexgent_db.aio.verification import verify_databases
from nexgent_db.cache.batch import Change
from nexgent_db.cache.keys import CacheKeys, prefix_of_schema
from nexgent_db.errors import (
    BlockMisuse,
    ConnectionLost,
    InvalidInput,
    SchemaNotReady,
    TransactionConflict,
    translate,
)
from nexgent_db.models.health import Health
from nexgent_db.observe import QueryHook
from nexgent_db.observe._event import Hooks
from nexgent_db.poolers import with_limits
from nexgent_db.project import check_history_name
from nexgent_db.settings import LONGEST_IDENTIFIER, Settings, describe, is_schema_name

T = TypeVar("T")

Isolation = Literal["read committed", "repeatable read", "serializable"]

_ISOLATION = {
    "read committed": IsolationLevel.READ_COMMITTED,
    "repeatable read": IsolationLevel.REPEATABLE_READ,
    "serializable": IsolationLevel.SERIALIZABLE,
}


class AsyncDatabase(Repositories):
    """A pool of connections to one database, its repositories, and its transactions.

    Use it as a context manager, or call :meth:`open` and :meth:`close`. ``database`` is a URL, libpq keywords, or
    Settings. A cache is used when the Settings have one: REDIS_URL is read by :meth:`from_env` only. Safe to share
    between tasks. ``on_query`` hooks get an event for every query, see :mod:`nexgent_db.observe`; an exception of a
    hook is logged and stops nothing. ``migrations`` has the folders of a service's own migrations, by the names of
    their histories: :meth:`assert_schema` then covers them. ``replica_urls`` go with a ``database`` given as text:
    streaming replicas, for ``replica`` and :meth:`reads`, see :class:`~nexgent_db.AsyncReader`.

    :meth:`for_tenant` gives a database for one user over the same connections: every call acts for this user, and
    PostgreSQL's row-level security (``nexgent-db roles apply``) hides the rows of other users and refuses to change
    them. It costs no round trip. A tenant's writes reach the cache, but its ``cache`` reads PostgreSQL, because Redis
    holds the rows of all users. With ``tenant``, a user's id, its
    own calls act for this user, too.

    :meth:`for_schema` gives a database for one cell, a schema with all tables of its users, over these connections.

    Single queries raise, in this order: InvalidInput before anything is sent; PoolExhausted, AuthenticationFailed or
    DatabaseUnavailable while a connection is acquired; DatabaseError and its subclasses from the server; RowCountError.
    """

    def __init__(
        self,
        database: str | Settings,
        *,
        tenant: UUID | None = None,
        on_query: QueryHook | Sequence[QueryHook] = (),
        migrations: Mapping[str, Path] = MappingProxyType({}),
        replica_urls: Sequence[str] = (),
    ) -> None:
        if isinstance(database, str):
            database = Settings.from_url(database, replica_urls=replica_urls)
        self.settings = database
        self._migrations = {check_history_name(name): Path(folder) for name, folder in migrations.items()}
        self._hooks = Hooks(on_query)
        self._pool: ConnectionPool | None = None
        self._root: AsyncDatabase = self
        self._cells: dict[str, Any] = {}  # of this class
        self._health = HealthCheck()
        self._replicas = ReplicaSet(self.settings)
        self._serve(RowScope.of(None, tenant), None)

    def _serve(self, scope: RowScope, shared_cache: AsyncCache | None) -> None:
        """Build the session, the cache and the repositories, for one cell or none, for all users or for one tenant."""
        self.schema = scope.schema
        self.tenant = tenant = None if scope.tenant is None else scope.tenant.user_id
        self._scope = scope
        session: Session = PoolSession(self._lease, self._transaction_session, scope)
        if self._hooks:
            session = ObservedSession(session, self._hooks, in_transaction=False)
        self._shared_cache = shared_cache or _new_cache(self, session)
        self._cache_writer = self._shared_cache._writer
        # Redis holds the rows of all users, so a tenant's cache reads the database only.
        self.cache = self._shared_cache if tenant is None else AsyncCache(None, session, self._transaction_session)
        if self.settings.redis_url is not None:
            session = CachedSession(session, self._cache_writer)
        self._session = session
        super().__init__(session)
        self.replica = self._reader(self._replicas.mark)

    @classmethod
    def from_env(
        cls,
        *,
        tenant: UUID | None = None,
        on_query: QueryHook | Sequence[QueryHook] = (),
        migrations: Mapping[str, Path] = MappingProxyType({}),
    ) -> Self:
        """The database of ``DATABASE_URL``, with the settings of the environment. Raises ConfigurationError."""
        return cls(Settings.from_env(), tenant=tenant, on_query=on_query, migrations=migrations)

    def for_tenant(self, tenant: UUID) -> Self:
        """A database for one user over the same connections; it opens and closes with this one.

        Costs no round trip. On each connection, the first call of any tenant also checks that PostgreSQL hides other
        users' rows, and raises TenantNotIsolated before it sends its query unless it does; :meth:`assert_tenants`
        checks it at once. Raises InvalidInput for an id that is no UUID.
        """
        return self._for(self._scope.for_tenant(tenant), self._shared_cache)

    def for_schema(self, schema: str) -> Self:
        """A database for one cell over the same connections; it opens and closes with this one, and is for the same
        ``tenant``.

        Costs no round trip, and adds none to any call. Prepared statements are the cell's own; with Redis, so are the
        cache, its keys and connections: relay each cell's outbox. A schema that does not exist is SchemaNotReady at the
        first query. Raises InvalidInput for a name that no schema can have.
        """
        if not is_schema_name(schema):
            raise InvalidInput("schema", f"the name of a schema is expected, in {LONGEST_IDENTIFIER} bytes at most")
        root = self._root
        cell: Self | None = root._cells.get(schema)
        if cell is None:
            new = self._for(RowScope.of(schema, root.tenant), None)
            cell = root._cells.setdefault(schema, new)
            if cell is new and root._pool is not None:
                cell._shared_cache._open_soon()
        return cell if self.tenant in (None, root.tenant) else cell.for_tenant(self.tenant)

    def _for(self, scope: RowScope, shared_cache: AsyncCache | None) -> Self:
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._serve(scope, shared_cache)
        return other

    async def assert_tenants(self) -> None:
        """Check that :meth:`for_tenant` shows each user only this user's rows. For the start of a service.

        Raises TenantNotIsolated when the role, and the tenants' role that it may become, sees other users' rows, or
        when their search path does not lead to the tables; otherwise what queries raise.
        """
        lease = self._lease()
        try:
            await self._scope.verify(await lease.acquire())
        finally:
            lease.over = True
            lease.release()

    def __reduce__(self) -> NoReturn:
        raise BlockMisuse("a database cannot be pickled: open one in each process, from its settings")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe(self.settings.conninfo)}>"

    async def open(self) -> None:
        """Connect, and fill the pool to its smallest size.

        Raises AuthenticationFailed; DatabaseUnavailable and its other kinds when the server cannot be reached or is
        older than PostgreSQL 15; TooManyConnections when the server accepts fewer connections than the pool keeps open;
        TenantNotIsolated when there is a ``tenant`` and the role, and the tenants' role that it may become, see other
        users' rows. After an error no connection stays open.

        A child process that is forked later makes connections of its own when it needs them. A transaction that was
        open at the fork raises BlockMisuse in the child, and goes on in the parent.
        """
        self._ensure_root()
        if self._pool is not None:
            raise BlockMisuse(f"{self!r} is open already")
        pool = ConnectionPool(self.settings, self._configure)
        await pool.open()
        self._pool = pool
        try:
            await self._replicas.open(self._lease)
            if self.tenant is not None:
                await self.assert_tenants()
        except BaseException:
            self._pool = None
            await self._replicas.close()
            await pool.close()
            raise
        await self._shared_cache._open()
        for cell in self._cells.values():
            cell._shared_cache._open_soon()

    async def close(self, drain_s: float | None = None) -> int | None:
        """Close every connection. Waits at most five seconds for queries and transactions in flight: what commits later
        is rolled back with its connection. ``cache.maintenance.run()`` ends after its round. For ``drain_s`` at most,
        by default that of the settings, it then relays the outbox. Returns how many changes are left, up to 100,000, as
        the log says; None for 0, and without an answer. Raises InvalidInput for a negative time, and closes nothing.
        """
        self._ensure_root()
        if self._pool is None:
            return None
        caches = [(each._shared_cache, each._scope) for each in (self, *self._cells.values())]
        ending = Ending(self._pool, caches, self.settings.drain_s if drain_s is None else drain_s)
        left = await ending.close_caches()
        self._pool = None
        await self._replicas.close()
        await ending.close_pool()
        return left

    def _ensure_root(self) -> None:
        if self._root is not self:
            raise BlockMisuse(
                "it is opened and closed with the database that for_tenant() or for_schema() was called on"
            )

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def assert_schema(self, *, may_be_newer: bool = False) -> None:
        """Check that the database has exactly this release's migrations, unedited, and those of the folders that were
        given as ``migrations``. For the start of a service.

        With ``may_be_newer`` only pending migrations are a reason to refuse: for processes of one release that may
        start again while the next is rolled out, since each release's migrations keep what the one before calls.

        One round trip, which reads the history tables and takes no lock; the role only needs SELECT on
        ``_yoyo_migration`` and ``_nexgent_migration``. Raises SchemaNotReady, in this order: migrations were never run
        here; the database is newer; files were edited after they were applied; migrations are pending. A service's
        folders come after this package's, and the message begins with the history. Otherwise raises what queries raise.
        """
        try:
            await assert_schema(self._session, self._migrations, may_be_newer=may_be_newer)
        except SchemaNotReady as error:
            raise await explain_cell(self._session, self.schema, error) from error.__cause__

    async def health(self) -> Health:
        """The state of the server, of its schema and of the pool, and how long the outbox's oldest change has waited.

        Three round trips on one connection, which read the history tables and the outbox. Never raises for a server
        that is gone. Returns within the pool's timeout and the connect timeout together. A database that is newer than
        this release is ready; :meth:`assert_schema` refuses it unless it ``may_be_newer``.
        """
        limit_s = float(self.settings.connect_timeout_s)
        scope = replace(self._scope, tenant=None)
        replicas = self._replicas.health()
        return await self._health.run(self._lease(), self._root._pool, limit_s, self._migrations, scope, replicas)

    @asynccontextmanager
    async def transaction(
        self,
        *,
        isolation: Isolation = "read committed",
        read_only: bool = False,
        deferrable: bool = False,
        statement_timeout_s: float | None = None,
        lock_timeout_s: float | None = None,
        pipeline: bool = False,
    ) -> AsyncIterator[AsyncTransaction]:
        """One transaction on one connection: committed at the end, rolled back by any exception.

        The timeouts hold for this transaction only. ``pipeline`` sends each statement before the earlier ones are
        answered; an error may then show at a later statement. Never retried: see :meth:`run_transaction`. While the
        transaction is open, using the database in the same task raises BlockMisuse (it would wait for a second
        connection).

        Raises what queries raise; ConnectionLost when the connection is lost at the end: the transaction may or may not
        have been committed.

        With a cache, a transaction that wrote reads its changes before its COMMIT, in one more round trip, and sends
        them to the cache after it.
        """
        cached = self.settings.redis_url is not None and not read_only
        started_at = self._cache_writer.now()
        changes: list[Change] | None = []
        transaction: AsyncTransaction | None = None
        lease = self._lease()
        try:
            connection = await lease.acquire()
            settings = with_limits(await self._scope.enter(connection), statement_timeout_s, lock_timeout_s)
            transaction = _begun(self._root, connection)
            seen = self._cache_writer.seen
            try:
                connection.set_transaction_options(
                    _ISOLATION[isolation], read_only, deferrable, statement_timeout_s, settings
                )
                begin = connection.transaction()
                async with observed_commit(begin, self._hooks) if self._hooks else begin:
                    if pipeline:
                        async with connection.pipeline():
                            yield transaction
                    else:
                        yield transaction
                    undone = connection.info.transaction_status is not TransactionStatus.INTRANS
                    if cached and transaction._plain_session.wrote_cached and not undone:
                        started_at = self._cache_writer.now()
                        accepted = self._cache_writer.accepts_writes
                        changes = (
                            await self._cache_writer.changes_of(transaction._plain_session, seen) if accepted else None
                        )
            except psycopg.Error as error:
                raise translate(error, read_only=read_only) from error
        finally:
            if transaction is not None:
                transaction._plain_session.ended = True
            lease.over = True
            lease.release()
        if changes is None:
            self._cache_writer.leave_to_outbox()
        elif changes or transaction._plain_session.duplicates:
            await self._cache_writer.apply_changes(changes, transaction._plain_session.duplicates, started_at)

    async def run_transaction(
        self,
        function: Callable[[AsyncTransaction], Awaitable[T]],
        *,
        attempts: int = 5,
        isolation: Isolation = "read committed",
    ) -> T:
        """Run ``function`` in a transaction and return its result; retry transient failures.

        It runs again after a serialisation failure, a deadlock or a lost connection, ``attempts`` times in all, with a
        random pause that doubles from 10 ms. A transaction whose connection is lost during COMMIT may be committed, so
        ``function`` must be repeatable: trades are, by their request ids. The last failure is raised unchanged.
        """
        for attempt in range(1, attempts + 1):
            try:
                async with self.transaction(isolation=isolation) as transaction:
                    return await function(transaction)
            except (TransactionConflict, ConnectionLost):
                if attempt == attempts:
                    raise
            await asyncio.sleep(random.uniform(0.5, 1.0) * 0.01 * 2**attempt)  # noqa: S311  # jitter
        raise ValueError(f"attempts must be at least 1, not {attempts}")

    @asynccontextmanager
    async def _transaction_session(self) -> AsyncIterator[Session]:
        async with self.transaction() as transaction:
            yield transaction._session

    async def _configure(self, connection: PooledConnection) -> None:
        self._replicas.track(connection)
        if self.settings.redis_url is not None:
            cells = ((cell._scope, cell._cache_writer) for cell in self._cells.values())
            await verify_databases(connection, self._cache_writer, cells)

    def reads(self, *, at_least: str | int) -> AsyncReader:
        """A reader of the replicas, never older than ``at_least`` and what it has read; nothing else is waited for.

        That is a token of :meth:`wal_position`, or a row's version, for which it asks the primary. Raises InvalidInput.
        """
        return self._reader(HighWaterMark.of(at_least, "at_least"))

    async def wal_position(self) -> str:
        """A token of what this process has written and read through this database, for :meth:`reads`.

        Costs no round trip with replicas, else one to the primary. Raises what queries raise.
        """
        return await self._replicas.token(self._lease())

    def _reader(self, mark: HighWaterMark) -> AsyncReader:
        reading = ReadingSession(self._replicas, self._lease, mark, self._scope)
        return AsyncReader(reading, self._hooks, partial(_begun, self._root))

    def _lease(self) -> Lease:
        """A lease on a connection. Raises BlockMisuse without a pool, and inside a transaction of this task."""
        pool = self._root._pool
        if pool is None:
            raise BlockMisuse(f"{self!r} is not open: use it as a context manager, or call open()")
        for reference in _OPEN_TRANSACTIONS.get():
            transaction = reference()
            if transaction is not None and transaction._is_of(self._root, async_caller()):
                raise BlockMisuse("this task is inside a transaction: use the transaction's object, not the database")
        return pool.lease()


_OPEN_TRANSACTIONS: Final[ContextVar[tuple[ReferenceType[AsyncTransaction], ...]]] = ContextVar(
    "open_transactions", default=()
)
"""The transactions that were opened in this context, innermost last; some may have ended. No call removes one: a
transaction that has ended, is gone, or was last used by another task does not stop a call."""


def _begun(database: AsyncDatabase, connection: PooledConnection) -> AsyncTransaction:
    """A transaction of the database on this connection, noted as open for the caller."""
    transaction = AsyncTransaction(connection, database._hooks)
    transaction._database = database
    before = [
        reference
        for reference in _OPEN_TRANSACTIONS.get()
        if (it := reference()) is not None and not it._plain_session.ended
    ]
    _OPEN_TRANSACTIONS.set((*before, ref(transaction)))
    return transaction


def _new_cache(database: AsyncDatabase, session: Session) -> AsyncCache:
    if database.settings.redis_url is None:
        return AsyncCache(None, session, database._transaction_session)
    from nexgent_db.aio.cache.client import CacheClient  # imports redis

    local_rows = database.settings.local_cache_rows if database.tenant is None else 0  # no tenant reads Redis
    prefix = prefix_of_schema(database.settings.cache_prefix, database.schema or database.settings.schema)
    client = CacheClient(database.settings.redis_url, CacheKeys(prefix), local_rows)
    return AsyncCache(client, session, database._transaction_session)
