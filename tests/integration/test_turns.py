"""Long computations give way: other tasks run between the parts of the largest lists and batches."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, TypeVar
from uuid import uuid4

import pytest
import pytest_asyncio
from hiredis import pack_command

from nexgent_db import AsyncDatabase
from nexgent_db.aio import cursors, turns
from nexgent_db.aio.cache.client import _packed
from nexgent_db.aio.turns import in_turns
from nexgent_db.errors import InvalidInput
from nexgent_db.models import BalanceSnapshotOrder, PriceUpdate, SignalOrder, TokenPrice
from nexgent_db.models.base import MANY
from nexgent_db.settings import Settings
from tests.integration.aio.factories import Owner, funded_owner

T = TypeVar("T")
COUNT = 300
LONGEST_TURN_S: Final = 0.05


@pytest_asyncio.fixture
async def db(fresh_database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncDatabase]:
    monkeypatch.setattr(turns, "TURN_S", -1.0)  # after every 50 items, whatever the time
    monkeypatch.setattr(cursors, "ROWS_BATCH_SIZE", 50)
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as database:
        yield database


@pytest_asyncio.fixture
async def owner(db: AsyncDatabase) -> Owner:
    return await funded_owner(db)


async def turns_of_another(work: Awaitable[T]) -> tuple[int, T]:
    """How often another task ran meanwhile, and the result."""
    counted = 0

    async def count() -> None:
        nonlocal counted
        while True:
            await asyncio.sleep(0)
            counted += 1

    other = asyncio.create_task(count())
    try:
        result = await work
    finally:
        other.cancel()
    return counted, result


async def test_work_on_many_items_gives_way_and_keeps_their_order() -> None:
    counted, made = await turns_of_another(in_turns(str, range(100)))
    assert made == [str(number) for number in range(100)]
    assert counted <= 2  # a hundredth of a second is not over
    with pytest.raises(ValueError, match="invalid literal"):
        await in_turns(int, ["1", "x"])


async def test_many_items_give_way_after_each_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_S", -1.0)
    counted, made = await turns_of_another(in_turns(str, range(500)))
    assert len(made) == 500
    assert counted >= 9


async def test_largest_lists_and_batches_give_way(db: AsyncDatabase, owner: Owner) -> None:
    deposits = [owner.deposit("1", token=f"T{number}") for number in range(COUNT)]
    counted, results = await turns_of_another(db.trades.execute_many(deposits))
    assert len(results) == COUNT
    assert counted >= 3 * COUNT / 50  # the orders, the changes of the transaction, the batch for the cache

    buys = [owner.buy("0.001", "1", token=f"T{number}") for number in range(COUNT)]
    await db.trades.execute_many(buys)
    reads: list[Awaitable[Sequence[object]]] = [
        db.transactions.list_by_agent(owner.agent_id),
        db.cache.positions_of_agent(owner.agent_id),  # from the database, and stored
        db.cache.positions_of_agent(owner.agent_id),
        db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address),
        db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address),
    ]
    for read in reads:
        counted, rows = await turns_of_another(read)
        assert len(rows) >= COUNT
        assert counted >= COUNT / 50 - 1
    assert db.cache.metrics().hits >= 2


@pytest.mark.parametrize("count", [1, 49, 50, 51, 100, 101])
async def test_list_in_parts_is_whole(db: AsyncDatabase, count: int) -> None:
    answer = await db.execute("SELECT n FROM generate_series(1, :count) AS n", {"count": count})
    assert [row["n"] for row in answer.rows] == list(range(1, count + 1))


# --- What a turn costs ------------------------------------------------------------------------------


async def longest_turn(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Awaitable[object]]) -> float:
    """The longest time for which the event loop's thread computed between two turns, in seconds.

    Its processor time, so that other programs do not count, and without the garbage collector, whose pauses depend on
    everything else in memory. The least of three calls: a turn that is always too long is so in each of them.
    """
    spans: list[float] = []
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        started_at = time.thread_time()
        run(handle)
        spans.append(time.thread_time() - started_at)

    gc.collect()
    gc.disable()
    try:
        with monkeypatch.context() as patched:
            patched.setattr(asyncio.Handle, "_run", measured)
            longest = []
            for _ in range(3):
                await asyncio.sleep(0)  # what was computed before is another turn's
                spans.clear()
                await work()
                await asyncio.sleep(0)
                longest.append(max(spans))
    finally:
        gc.enable()
    return min(longest)


@pytest_asyncio.fixture
async def plain(fresh_database_url: str, redis_url: str) -> AsyncIterator[AsyncDatabase]:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as database:
        yield database


async def test_longest_turn_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    async def compute() -> None:
        until = time.thread_time() + LONGEST_TURN_S
        while time.thread_time() < until:
            pass

    assert await longest_turn(monkeypatch, compute) >= LONGEST_TURN_S
    assert await longest_turn(monkeypatch, lambda: asyncio.sleep(0.1)) < LONGEST_TURN_S


async def test_no_call_with_the_longest_list_holds_up_the_loop(
    plain: AsyncDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await funded_owner(plain)
    since = datetime(2026, 1, 1, tzinfo=UTC)
    snapshots = [
        BalanceSnapshotOrder(
            agent_id=owner.agent_id,
            wallet_address=owner.wallet_address,
            snapshot_timestamp=since + timedelta(hours=number),
            portfolio_balance_sol=Decimal("1.123456789"),
            sol_balance=Decimal("1.5"),
            positions_value_sol=Decimal("0.5"),
            unrealized_pnl_sol=Decimal("-1.25"),
        )
        for number in range(MANY)
    ]
    tokens = [f"Token{number:039}" for number in range(MANY)]
    signals = [
        SignalOrder(
            token_address=token,
            symbol="BONK",
            signal_type="BUY",
            activation_reason="it rises",
            signal_strength=3,
            source="a test",
        )
        for token in tokens
    ]
    updates = [
        PriceUpdate(position_id=uuid4(), price=Decimal("1.5"), stop_loss_percentage=Decimal(-10), expected_version=4)
        for _ in range(MANY)
    ]
    prices = [
        TokenPrice(token_address=token, price_sol=Decimal("1.5"), price_usd=Decimal(2), last_updated=since)
        for token in tokens
    ]
    ids = [update.position_id for update in updates]
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "balance_snapshots.create_many": lambda: plain.balance_snapshots.create_many(snapshots),
        "signals.create_many_of": lambda: plain.signals.create_many_of(owner.user_id, signals),
        "signals.list_by_user": lambda: plain.signals.list_by_user(owner.user_id, limit=MANY),
        "positions.record_prices": lambda: plain.positions.record_prices(updates),
        "transactions.list_by_ids": lambda: plain.transactions.list_by_ids(ids),
        "balances.list_by_wallets": lambda: plain.balances.list_by_wallets("T", tokens),
        "cache.prices.set_many": lambda: plain.cache.prices.set_many(prices),
        "cache.prices.get_many": lambda: plain.cache.prices.get_many(tokens),
        "execute": lambda: plain.execute("SELECT cardinality(:ids::uuid[])", {"ids": ids}),
    }
    longest = {name: await longest_turn(monkeypatch, call) for name, call in calls.items()}
    assert {name: turn_s for name, turn_s in longest.items() if turn_s > LONGEST_TURN_S} == {}
    stored = await plain.execute("SELECT count(*) AS n FROM agent_balance_snapshots")
    assert stored.rows == [{"n": MANY}]


async def test_values_of_long_list_are_stored_as_given(db: AsyncDatabase, owner: Owner) -> None:
    symbols = [None, "NULL", "null", '"', "\\", "{", "}", ",", " ", "'", "\u3000", "ö", "a\tb", '\\"', "x"]
    orders = [
        SignalOrder(
            token_address=f"{number}", symbol=symbols[number % len(symbols)], signal_type="BUY", signal_strength=1
        )
        for number in range(1_500)
    ]
    stored = await db.signals.create_many_of(owner.user_id, orders)
    assert [(row.token_address, row.symbol) for row in stored] == [(each.token_address, each.symbol) for each in orders]
    texts = [symbol or "" for symbol in symbols] * 100
    answer = await db.execute("SELECT unnest(:texts::text[]) AS text", {"texts": texts})
    assert [row["text"] for row in answer.rows] == texts
    numbers = [*range(600), None, 2**62]
    answer = await db.execute("SELECT unnest(:numbers) AS number", {"numbers": numbers})  # the type is the list's own
    assert [row["number"] for row in answer.rows] == numbers


async def test_fault_in_long_list_is_named_with_its_place(db: AsyncDatabase) -> None:
    addresses = ["W"] * 5_000
    addresses[4_321] = "W" * 45
    with pytest.raises(InvalidInput, match=r"wallet_addresses: at 4321: .*at most 44"):
        await db.balances.list_by_wallets("T", addresses)
    with pytest.raises(InvalidInput, match=r"wallet_addresses: .*at most 10000"):
        await db.balances.list_by_wallets("T", ["W"] * (MANY + 1))
    with pytest.raises(InvalidInput, match="NUL|surrogate"):
        await db.execute("SELECT :texts::text[]", {"texts": ["\ud800"] * 1_000})


async def test_long_command_is_packed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "TURN_S", -1.0)
    for count in (1, 999, 1_000, 1_001, 12_345):
        command = ("EVALSHA", *(("ö" * (number % 7), b"\r\n", number)[number % 3] for number in range(count - 1)))
        counted, packed = await turns_of_another(_packed(command))
        plain: Any = tuple(part if isinstance(part, str | bytes) else str(part) for part in command)
        assert packed == pack_command(plain)
        assert counted >= count // 1_000 - 1
