# Generated from nexgent_db/aio/database.py by `make sync`: do not edit.
"""The database as a service embeds it: repositories and trades over a pool, and transaction blocks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from uuid import UUID

import psycopg
from psycopg import Connection, IsolationLevel
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool

from nexgent_db._cache_rows import Change
from nexgent_db.cache_keys import CacheKeys
from nexgent_db.errors import (
    BlockMisuse,
    ConnectionLost,
    DatabaseUnavailable,
    InvalidInput,
    TransactionConflict,
    translate,
)
from nexgent_db.health import Health
from nexgent_db.observe import QueryHook
from nexgent_db.observe._event import Hooks
from nexgent_db.settings import Settings, describe
from nexgent_db.sync._cached import CachedSession
from nexgent_db.sync._observed import ObservedSession, observed_commit
from nexgent_db.sync._pool import PoolSession, connect, make_pool, take
from nexgent_db.sync._schema import assert_schema
from nexgent_db.sync._session import BlockSession, Session, of_tenant
from nexgent_db.sync._tenant import isolated
from nexgent_db.sync.cache import Cache
from nexgent_db.sync.repositories.agents import AgentRepository
from nexgent_db.sync.repositories.api_keys import ApiKeyRepository
from nexgent_db.sync.repositories.balance_snapshots import BalanceSnapshotRepository
from nexgent_db.sync.repositories.balances import BalanceRepository
from nexgent_db.sync.repositories.historical_swaps import HistoricalSwapRepository
from nexgent_db.sync.repositories.performance import PerformanceRepository
from nexgent_db.sync.repositories.positions import PositionRepository
from nexgent_db.sync.repositories.signal_executions import SignalExecutionRepository
from nexgent_db.sync.repositories.signals import SignalRepository
from nexgent_db.sync.repositories.trade_requests import TradeRequestRepository
from nexgent_db.sync.repositories.transactions import TransactionRepository
from nexgent_db.sync.repositories.users import UserRepository
from nexgent_db.sync.repositories.wallets import WalletRepository
from nexgent_db.sync.trades import Trades

T = TypeVar("T")

Isolation = Literal["read committed", "repeatable read", "serializable"]

_ISOLATION = {
    "read committed": IsolationLevel.READ_COMMITTED,
    "repeatable read": IsolationLevel.REPEATABLE_READ,
    "serializable": IsolationLevel.SERIALIZABLE,
}


class _Repositories:
    """The same repositories, and trades, outside of a block and inside."""

    def __init__(self, session: Session) -> None:
        self.agents = AgentRepository(session)
        self.api_keys = ApiKeyRepository(session)
        self.balance_snapshots = BalanceSnapshotRepository(session)
        self.balances = BalanceRepository(session)
        self.historical_swaps = HistoricalSwapRepository(session)
        self.performance = PerformanceRepository(session)
        self.positions = PositionRepository(session)
        self.signal_executions = SignalExecutionRepository(session)
        self.signals = SignalRepository(session)
        self.trade_requests = TradeRequestRepository(session)
        self.transactions = TransactionRepository(session)
        self.users = UserRepository(session)
        self.wallets = WalletRepository(session)
        self.trades = Trades(session)


class Transaction(_Repositories):
    """An open transaction block. Everything done through it is kept together, or not at all."""

    def __init__(self, connection: Connection[Any], hooks: Hooks, around: BlockSession | None = None) -> None:
        self._connection = connection
        self._hooks = hooks
        self._block = BlockSession(connection, around)
        self._session = ObservedSession(self._block, hooks, in_block=True) if hooks else self._block
        super().__init__(self._session)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A block within the block: a savepoint. An error that leaves it undoes what was done inside, no more."""
        if self._block.ended:
            raise BlockMisuse("the transaction block has ended")
        inner = Transaction(self._connection, self._hooks, self._block)
        try:
            with self._connection.transaction():
                yield inner
            self._block.replays += inner._block.replays
        except psycopg.Error as error:
            raise translate(error) from error
        finally:
            inner._block.ended = True


class Database(_Repositories):
    """A pool of connections to one database, its repositories, and transaction blocks.

    Use it as a context manager, or call :meth:`open` and :meth:`close`. ``database`` is a URL, libpq keywords, or
    Settings. Safe to share between threads. ``on_query`` is told of every query, see :mod:`nexgent_db.observe`: what it
    raises is logged and stops nothing.

    With ``tenant``, a user's id, everything is done for this user: rows of other users are neither seen nor changed, as
    PostgreSQL's row-level security has it (``nexgent-db roles apply``). A query alone is one round trip still, a block
    takes one more. What is written is brought into the cache; ``cache`` itself answers as without Redis, from
    PostgreSQL, because what is there is of all users. :meth:`for_tenant` serves other users over the same connections.

    Queries alone raise, in this order: InvalidInput before anything is sent; PoolExhausted, AuthenticationFailed or
    DatabaseUnavailable while a connection is sought; DatabaseError and its subclasses from the server; RowCountError.
    """

    def __init__(
        self,
        database: str | Settings,
        *,
        tenant: UUID | None = None,
        on_query: QueryHook | Sequence[QueryHook] = (),
    ) -> None:
        self.settings = Settings.from_url(database) if isinstance(database, str) else database
        self._hooks = Hooks(on_query)
        self._pool: ConnectionPool[Connection[Any]] | None = None
        self._in_block: set[object] = set()
        self._opener: Database = self
        self._serve(tenant, None)

    def _serve(self, tenant: UUID | None, follower: Cache | None) -> None:
        """Put the repositories together, for all users or for one."""
        if tenant is not None and not isinstance(tenant, UUID):
            raise InvalidInput("tenant", f"a UUID is expected, not {type(tenant).__name__}")
        self.tenant = tenant
        session: Session = PoolSession(self._take, self._give_back, self._block_session, tenant)
        if self._hooks:
            session = ObservedSession(session, self._hooks, in_block=False)
        self._follower = follower or self._new_cache(session)
        # What is in Redis is of all users: a tenant has no way to read it.
        self.cache = self._follower if tenant is None else Cache(None, session, self._block_session)
        if self.settings.redis_url is not None:
            session = CachedSession(session, self._follower)
        self._session = session
        super().__init__(session)

    def _new_cache(self, session: Session) -> Cache:
        if self.settings.redis_url is None:
            return Cache(None, session, self._block_session)
        from nexgent_db.sync._cache_link import CacheLink  # imports redis

        near_rows = self.settings.near_cache_rows if self.tenant is None else 0  # a tenant's reads nothing
        link = CacheLink(self.settings.redis_url, CacheKeys(self.settings.cache_prefix), near_rows)
        return Cache(link, session, self._block_session)

    @classmethod
    def from_env(cls, *, tenant: UUID | None = None, on_query: QueryHook | Sequence[QueryHook] = ()) -> Self:
        """The database of ``DATABASE_URL``, with the settings of the environment. Raises ConfigurationError."""
        return cls(Settings.from_env(), tenant=tenant, on_query=on_query)

    def for_tenant(self, tenant: UUID) -> Self:
        """The same for another user, over the same connections; it is opened and closed with this one.

        Costs no round trip. Raises BlockMisuse for a database that was made without a ``tenant``: its sessions are not
        kept to one user. (For a service whose first user is yet to come, any id will do that is nobody's.)
        """
        if self.tenant is None:
            raise BlockMisuse(f"{self!r} was made without a tenant: its sessions see the rows of all users")
        other = copy(self)
        other._serve(tenant, self._follower)
        return other

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {describe(self.settings.conninfo)}>"

    def open(self) -> None:
        """Connect, and fill the pool to its smallest size.

        Raises AuthenticationFailed; DatabaseUnavailable when the server cannot be reached or is older than
        PostgreSQL 15; TenantNotIsolated when there is a ``tenant`` and the role, or the one for tenants that it may
        become, sees other users' rows; PoolExhausted when the server gives fewer connections than the pool is to keep.
        Nothing stays open then.
        """
        self._refuse_shared()
        if self._pool is not None:
            raise BlockMisuse(f"{self!r} is open already")
        settings = self.settings
        if self.tenant is None:
            connect(settings).close()  # the pool would not say why it cannot
        else:
            settings = isolated(settings)
        pool = make_pool(settings, None if self.settings.redis_url is None else self._meet)
        try:
            pool.open(wait=True, timeout=self.settings.connect_timeout_s)
        except psycopg.Error as error:
            pool.close()
            raise translate(error) from error
        self._pool = pool
        self._follower.open()

    def close(self) -> None:
        """Close every connection. Queries in flight are waited for, for a few seconds."""
        self._refuse_shared()
        if self._pool is not None:
            self._follower.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _refuse_shared(self) -> None:
        if self._opener is not self:
            raise BlockMisuse("it is opened and closed with the database that for_tenant() was called on")

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def assert_schema(self) -> None:
        """Make sure, as a service starts, that the database has this release's migrations, unedited, and no others.

        One round trip, which reads the migrations' books and takes no lock; a role that may only SELECT from
        ``_yoyo_migration`` and ``_nexgent_migration`` can ask. Raises SchemaNotReady, in this order: migrations were
        never run here; the database is newer; files were edited after they were applied; migrations are pending. Else
        what queries raise.
        """
        assert_schema(self._session)

    def health(self) -> Health:
        """One round trip to the server, and how busy the pool is. Never raises for a server that is gone."""
        started = time.perf_counter()
        problem = version = None
        try:
            with self._checkout() as connection:
                connection.execute("SELECT 1")
                version = connection.info.server_version
        except psycopg.Error as error:
            problem = str(translate(error))
        except DatabaseUnavailable as error:
            problem = str(error)
        pool = self._opener._pool
        stats = {} if pool is None else pool.get_stats()
        return Health(
            problem=problem,
            server_version=version,
            round_trip_s=time.perf_counter() - started,
            pool_size=stats.get("pool_size", 0),
            pool_available=stats.get("pool_available", 0),
            requests_waiting=stats.get("requests_waiting", 0),
        )

    @contextmanager
    def transaction(
        self,
        *,
        isolation: Isolation = "read committed",
        read_only: bool = False,
        deferrable: bool = False,
        statement_timeout_s: float | None = None,
        lock_timeout_s: float | None = None,
        pipeline: bool = False,
    ) -> Iterator[Transaction]:
        """One connection and one database transaction: committed at the end, rolled back by any exception.

        The timeouts hold for this block only. ``pipeline`` sends statements without waiting for the answers before;
        an error may then show at a later one. Never retried: see :meth:`run_transaction`. While the block is open,
        using the database itself in the same thread raises BlockMisuse (it would wait for a second connection).

        Raises what queries raise; when the connection is lost at the end, ConnectionLost: the transaction may or may
        not have been committed.

        With a cache, a block that wrote reads what it has changed before its COMMIT, in one round trip more, and
        sends it to the cache afterwards.
        """
        follow = self.settings.redis_url is not None and not read_only
        began = self._follower.now()
        changes: list[Change] | None = []
        with self._checkout() as connection:
            owner = threading.get_ident()
            self._in_block.add(owner)
            transaction = Transaction(connection, self._hooks)
            opening = _opening(self.tenant, statement_timeout_s, lock_timeout_s)
            seen = self._follower.seen
            try:
                connection.set_isolation_level(_ISOLATION[isolation])
                connection.set_read_only(read_only or None)
                connection.set_deferrable(deferrable or None)
                with observed_commit(connection, self._hooks) if self._hooks else connection.transaction():
                    if opening:
                        connection.execute(opening)
                    if pipeline:
                        with connection.pipeline():
                            yield transaction
                    else:
                        yield transaction
                    undone = connection.info.transaction_status is not TransactionStatus.INTRANS
                    if follow and transaction._block.wrote_cached and not undone:
                        began = self._follower.now()
                        follows = self._follower.follows
                        changes = self._follower.changes_of(transaction._block, seen) if follows else None
            except psycopg.Error as error:
                raise translate(error) from error
            finally:
                transaction._block.ended = True
                self._in_block.discard(owner)
        if changes is None:
            self._follower.leave_to_outbox()
        elif changes or transaction._block.replays:
            self._follower.apply_changes(changes, transaction._block.replays, began)

    def run_transaction(
        self,
        function: Callable[[Transaction], T],
        *,
        attempts: int = 5,
        isolation: Isolation = "read committed",
    ) -> T:
        """Run ``function`` in a block and return its result; run it again when that may help.

        That is after a serialisation failure, a deadlock or a lost connection, ``attempts`` times in all, with a
        random pause that doubles from 10 ms. A connection lost during COMMIT may have committed, so ``function``
        must be repeatable: trades are, by their request ids. The last failure is raised as it is.
        """
        for attempt in range(1, attempts + 1):
            try:
                with self.transaction(isolation=isolation) as transaction:
                    return function(transaction)
            except (TransactionConflict, ConnectionLost):
                if attempt == attempts:
                    raise
            time.sleep(random.uniform(0.5, 1.0) * 0.01 * 2**attempt)  # noqa: S311  # jitter
        raise ValueError(f"attempts must be at least 1, not {attempts}")

    @contextmanager
    def _block_session(self) -> Iterator[Session]:
        with self.transaction() as transaction:
            yield transaction._session

    def _meet(self, connection: Connection[Any]) -> None:
        self._follower.meet(BlockSession(connection))

    def _take(self) -> Connection[Any]:
        """A pooled connection, to be given back. Raises BlockMisuse, PoolExhausted."""
        pool = self._opener._pool
        if pool is None:
            raise BlockMisuse(f"{self!r} is not open: use it as a context manager, or call open()")
        if self._in_block and threading.get_ident() in self._in_block:
            raise BlockMisuse("this thread is inside a transaction block: use the block's object, not the database")
        try:
            return take(pool)
        except psycopg.Error as error:
            raise translate(error) from error

    def _give_back(self, connection: Connection[Any]) -> None:
        try:
            if (pool := self._opener._pool) is not None:
                pool.putconn(connection)
                return
        except ValueError:  # it is another pool's: closed and opened again meanwhile
            pass
        connection.close()

    @contextmanager
    def _checkout(self) -> Iterator[Connection[Any]]:
        connection = self._take()
        try:
            yield connection
        finally:
            self._give_back(connection)


def _opening(tenant: UUID | None, statement_timeout_s: float | None, lock_timeout_s: float | None) -> bytes:
    """What a block begins with, in one round trip; nothing when nothing is to be set."""
    timeouts = {"statement_timeout": statement_timeout_s, "lock_timeout": lock_timeout_s}
    limits = [
        f"SET LOCAL {name} = {max(1, round(seconds * 1000))}".encode()
        for name, seconds in timeouts.items()
        if seconds is not None
    ]
    return b"; ".join([*limits, *([] if tenant is None else [of_tenant(tenant)])])
