"""What is neither a list nor a trade: signals in bulk, reads through the cache, the replay of a history."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import uuid4

import psycopg

from nexgent_db import AsyncDatabase, Database
from nexgent_db.embedded import EmbeddedServerError
from nexgent_db.errors import TradeRefused
from nexgent_db.models import SignalOrder
from nexgent_db.models.trades import TradeOrder
from nexgent_db.replay import Account, BadLine, replay
from nexgent_db.replay.accounts import accounts_of
from nexgent_db.replay.events import read_history
from nexgent_db.replay.rules import order_of, position_token
from nexgent_db.settings import Settings
from nexgent_db.sync.repositories.positions import PositionRepository
from nexgent_db.sync.transaction import Transaction
from tests.benchmarks.race import alchemy, drivers
from tests.benchmarks.race.arena import Library, Market, Scale
from tests.benchmarks.race.contest import Check, Contender, Items, Turn, Workload, on_a_loop, one_by_one
from tests.benchmarks.race.texts import of_query
from tests.benchmarks.server import Server
from tests.support.servers.valkey_server import valkey_server

_CHUNK: Final = 10_000
"""create_many takes no more at once."""
_COLUMNS: Final = (
    "user_id",
    "token_address",
    "symbol",
    "signal_type",
    "activation_reason",
    "signal_strength",
    "source",
)
BULK: Final = "20,000 signals in bulk"
CACHED: Final = ("one cached row", "20 cached rows")
REPLAY: Final = "replay of the history"
_EVENTS: Final = 1_500
_BLOCK: Final = 100
HISTORY: Final = Path(__file__).parents[4] / "shared/data/wallet_history/events.jsonl"


@contextmanager
def redis_url() -> Iterator[str | None]:
    """A Valkey server; None where there is none to start."""
    try:
        with valkey_server() as server:
            yield server.url
    except EmbeddedServerError:
        yield None


# --- Signals in bulk ------------------------------------------------------------------------------


def bulk(market: Market) -> Workload:
    """20,000 signals of one user in one transaction. COPY and executemany return no rows, the others do."""
    count = market.scale.rows(20_000)
    user_id = market.owner().user_id
    rows = [
        (user_id, f"T{number % 5000}", "TOKEN", f"type {number % 7}", "momentum", number % 100 + 1, "race")
        for number in range(count)
    ]
    mappings = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    orders = [SignalOrder.model_validate(mapping) for mapping in mappings]
    item = {"rows": rows, "columns": list(_COLUMNS), "mappings": mappings}

    def ours(db: Any, _: Any) -> object:
        with db.transaction() as tx:
            return sum(
                len(tx.signals.create_many_of(user_id, orders[first : first + _CHUNK]))
                for first in range(0, count, _CHUNK)
            )

    async def ours_async(db: Any, _: Any) -> object:
        made = 0
        async with db.transaction() as tx:
            for first in range(0, count, _CHUNK):
                made += len(await tx.signals.create_many_of(user_id, orders[first : first + _CHUNK]))
        return made

    columns = ", ".join(_COLUMNS)

    def executemany(connection: psycopg.Connection[Any]) -> object:
        places = ", ".join(["%s"] * len(_COLUMNS))
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO trading_signals ({columns}) VALUES ({places})".encode(), rows)
            return cursor.rowcount

    def copy(connection: psycopg.Connection[Any]) -> object:
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy(f"COPY trading_signals ({columns}) FROM STDIN".encode()) as target:
                for row in rows:
                    target.write_row(row)
            return cursor.rowcount

    contenders = {
        "ours": one_by_one(drivers.ours(ours)),
        "ours async": on_a_loop(drivers.ours_async(ours_async)),
        "psycopg": one_by_one(drivers.psycopg_connected(executemany)),
        "psycopg COPY": one_by_one(drivers.psycopg_connected(copy)),
    }
    if drivers.HAS_ASYNCPG:
        contenders["asyncpg COPY"] = on_a_loop(drivers.asyncpg_copy)
    if alchemy.HAS_SQLALCHEMY:
        contenders["SQLAlchemy Core"] = one_by_one(alchemy.core_bulk)
        contenders["SQLAlchemy ORM"] = one_by_one(alchemy.orm_bulk)

    def check(items: Items, turn: Turn) -> None:
        assert turn.result == count, turn.result
        with psycopg.connect(market.url, autocommit=True) as connection:
            found = connection.execute("DELETE FROM trading_signals").rowcount
            assert found == count, found
            connection.execute("VACUUM trading_signals")

    return Workload(
        name=BULK,
        contenders=contenders,
        items=lambda: Items(market.url, [], [item]),
        check=check,
        per=count,
        note="a signal",
    )


# --- The cache ------------------------------------------------------------------------------------


def cached_reads(library: Library, redis: str) -> Iterator[Workload]:
    """One position, and twenty of an agent: from the cache, and by SQL."""
    prefix = f"{uuid4()}:"
    agent_id, position_id = library.twenty.agent_id, library.position_id

    def settings(url: str, local_rows: int = 0) -> Settings:
        base = replace(Settings.from_url(url), redis_url=redis, cache_prefix=prefix)
        return replace(base, local_cache_rows=local_rows)

    def cached(operation: Callable[[Any], object], local_rows: int = 0) -> Contender:
        @contextmanager
        def client(url: str) -> Iterator[Callable[[Any], object]]:
            with Database(settings(url, local_rows)) as db:
                yield lambda _: operation(db)
                drivers.ensure_undisturbed(db.cache.metrics().openings)

        return one_by_one(client)

    def cached_async(operation: Callable[[Any], Any]) -> Contender:
        @asynccontextmanager
        async def client(url: str) -> Any:
            async with AsyncDatabase(settings(url)) as db:
                yield lambda _: operation(db)

        return on_a_loop(client)

    kinds: tuple[tuple[str, int, bool, Callable[[Any], Any], Callable[[Any], Any], Any], ...] = (
        (
            CACHED[0],
            500,
            True,
            lambda db: db.cache.position(position_id),
            lambda db: db.positions.find_by_id(position_id),
            of_query(PositionRepository, "find_by_id", position_id),
        ),
        (
            CACHED[1],
            200,
            False,
            lambda db: db.cache.positions_of_agent(agent_id),
            lambda db: db.positions.list_by_agent(agent_id),
            of_query(PositionRepository, "list_by_agent", agent_id),
        ),
    )
    for name, calls, one, from_cache, by_sql, statement in kinds:
        yield Workload(
            name=name,
            contenders={
                "ours": cached(from_cache),
                "ours async": cached_async(from_cache),
                "ours, local cache": cached(from_cache, 100),
                "ours, SQL": one_by_one(drivers.ours(partial(_first, by_sql))),
                "psycopg": one_by_one(drivers.psycopg_read(statement, one=one)),
            },
            items=partial(Items, library.url, [None] * 50, [None] * library.scale.calls(calls)),
            check=_found(one),
        )


def _first(operation: Callable[[Any], Any], db: Any, _: Any) -> Any:
    return operation(db)


def _found(one: bool) -> Check:
    def check(items: Items, turn: Turn) -> None:
        assert turn.result is not None
        assert one or len(turn.result) == 20  # type: ignore[arg-type]

    return check


# --- The history ----------------------------------------------------------------------------------


def replay_history(server: Server, redis: str, scale: Scale) -> Workload:
    """The first events of the real history, cache on: by ``replay``, and by a bare loop that sends the same orders.

    The loop has its orders ready, and makes a hundred in a transaction, one after another.
    """
    with HISTORY.open() as file:
        events = list(islice(file, scale.rows(_EVENTS)))
    orders: list[TradeOrder] = []

    @contextmanager
    def history() -> Iterator[Path]:
        with TemporaryDirectory() as directory:
            path = Path(directory) / "events.jsonl"
            path.write_text("".join(events))
            yield path

    @contextmanager
    def database() -> Iterator[Database]:
        with server.new_database() as url:
            settings = replace(Settings.from_url(url), redis_url=redis, cache_prefix=f"{uuid4()}:")
            with Database(settings) as db:
                yield db

    def by_replay(items: Items) -> Turn:
        with database() as db, history() as path:
            started = time.perf_counter()
            replay(db, path)
            return Turn(time.perf_counter() - started, _ledger(db))

    def by_loop(items: Items) -> Turn:
        with database() as db:
            _open_account(db, orders[0])
            started = time.perf_counter()
            for first in range(0, len(orders), _BLOCK):
                with db.transaction() as tx:
                    for order in orders[first : first + _BLOCK]:
                        with suppress(TradeRefused):
                            _send(tx, order)
                if first // _BLOCK in (2, 10):  # as replay does, see its reason there
                    with psycopg.connect(db.settings.conninfo, autocommit=True) as connection:
                        connection.execute("ANALYZE")
            return Turn(time.perf_counter() - started, _ledger(db))

    with database() as db, history() as path:
        orders += _orders(db, path)
        expected = _ledger(db)

    def check(items: Items, turn: Turn) -> None:
        assert turn.result == expected, (turn.result, expected)

    return Workload(
        name=REPLAY,
        contenders={"ours": by_replay, "ours, a bare loop": by_loop},
        items=lambda: Items(server.url, [], events),
        check=check,
        note="an event",
    )


def _orders(db: Database, path: Path) -> list[TradeOrder]:
    """The orders that the history becomes, made and decided one after another."""
    orders: list[TradeOrder] = []
    account: Account | None = None
    for line in read_history(path):
        if isinstance(line, BadLine) or line.event.says_nothing:
            continue
        if account is None:
            (account,) = accounts_of(line.event.wallet, 1)
        token, remaining = position_token(line.event), None
        if token is not None and orders:
            position = db.positions.find_by_wallet_and_token(account.agent_id, account.wallet_address, token)
            remaining = None if position is None else position.remaining
        order = order_of(line, account, remaining)
        if order is None:
            continue
        if not orders:
            _open_account(db, order)
        orders.append(order)
        with suppress(TradeRefused):
            _send(db, order)
    return orders


def _open_account(db: Database, order: TradeOrder) -> None:
    user = db.users.create(f"{uuid4()}@example.org")
    db.agents.create(user.id, "race", agent_id=order.agent_id)
    db.wallets.create(order.wallet_address, order.agent_id, "simulation")


def _send(db: Database | Transaction, order: TradeOrder) -> None:
    method = re.sub(r"(?<!^)(?=[A-Z])", "_", type(order).__name__.removesuffix("Order")).lower()
    getattr(db.trades, method)(order)


def _ledger(db: Database) -> object:
    """The number of transactions, and what the wallets hold."""
    with psycopg.connect(db.settings.conninfo) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM agent_transactions), count(*), sum(balance) FROM agent_balances"
        ).fetchone()
