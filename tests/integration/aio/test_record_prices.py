"""Prices and stop losses of open positions: a batch in one round trip, in any order, beside trades."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase, Settings
from nexgent_db.errors import InvalidInput, TradeRefused
from nexgent_db.models import AgentPosition, PriceUpdate, RecordedPrices
from tests.integration.aio.factories import Owner, funded_owner
from tests.support.faults.concurrently import concurrently_async
from tests.support.oracles.state import broken_rules

pytestmark = pytest.mark.usefixtures("consistent_ledger")


async def bought(db: AsyncDatabase, owner: Owner, token: str = "T") -> AgentPosition:
    """A position bought at 1 SOL a token, with a stop loss of -30 %."""
    result = await db.trades.buy(owner.buy("0.01", "0.01", token, stop_loss_percentage="-30"))
    assert result.position is not None
    return result.position


def figures(position: AgentPosition) -> tuple[Decimal | None, ...]:
    return position.lowest_price, position.peak_price, position.current_stop_loss_percentage


async def test_peak_rises_lowest_falls_stop_loss_rises(db: AsyncDatabase) -> None:
    position = await bought(db, await funded_owner(db))
    assert figures(position) == (1, 1, -30)
    for price, given, expected in (
        ("1.5", None, (1, "1.5", -30)),
        ("1.2", "10", (1, "1.5", 10)),
        ("0.8", None, ("0.8", "1.5", 10)),
        ("1.6", "-5", ("0.8", "1.6", 10)),  # a stop loss does not fall
    ):
        update = PriceUpdate(
            position_id=position.id,
            price=Decimal(price),
            stop_loss_percentage=None if given is None else Decimal(given),
        )
        (changed,) = (await db.positions.record_prices([update])).changed
        assert figures(changed) == tuple(Decimal(figure) for figure in expected)
        assert changed == await db.positions.find_by_id(position.id)
        assert changed.version > position.version
        assert (changed.last_stop_loss_update == position.last_stop_loss_update) == (given in (None, "-5"))
        position = changed


async def test_stop_loss_falls_when_told(db: AsyncDatabase) -> None:
    position = await bought(db, await funded_owner(db))
    update = PriceUpdate(
        position_id=position.id, price=Decimal("1"), stop_loss_percentage=Decimal("-50"), may_lower_stop_loss=True
    )
    (changed,) = (await db.positions.record_prices([update])).changed
    assert changed.current_stop_loss_percentage == -50
    assert changed.last_stop_loss_update is not None


async def test_price_that_changes_nothing_writes_nothing(db: AsyncDatabase) -> None:
    position = await bought(db, await funded_owner(db))
    update = PriceUpdate(position_id=position.id, price=Decimal("1"), stop_loss_percentage=Decimal("-30"))
    assert await db.positions.record_prices([update]) == RecordedPrices()
    assert await db.positions.record_prices([]) == RecordedPrices()
    assert await db.positions.find_by_id(position.id) == position


async def test_batch_reports_changed_stale_and_closed_positions(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    moved, stale, closed = [await bought(db, owner, token) for token in ("A", "B", "C")]
    await db.trades.dca_buy(owner.dca_buy("1", "1", "B"))
    await db.trades.sell(owner.sell("0.01", "1", "C"))
    unknown = uuid4()
    recorded = await db.positions.record_prices(
        [
            PriceUpdate(position_id=position_id, price=Decimal("2"), expected_version=version)
            for position_id, version in (
                (moved.id, moved.version),
                (stale.id, stale.version),
                (closed.id, closed.version),
                (unknown, None),
            )
        ]
    )
    assert [position.id for position in recorded.changed] == [moved.id]
    assert recorded.changed[0].peak_price == 2
    assert recorded.stale == (await db.positions.find_by_id(stale.id),)
    assert recorded.stale[0].peak_price == 1
    assert set(recorded.closed) == {closed.id, unknown}


async def test_five_hundred_positions_change_in_one_version(db: AsyncDatabase) -> None:
    owners = [await funded_owner(db) for _ in range(5)]
    positions = [await bought(db, owner, f"token{number}") for owner in owners for number in range(100)]
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        query = "SELECT coalesce(max(version), 0) FROM cache_outbox"
        last = psql.execute(query).fetchone()
        recorded = await db.positions.record_prices(
            [PriceUpdate(position_id=position.id, price=Decimal("3")) for position in positions]
        )
        entries = psql.execute(
            "SELECT entity, cardinality(position_ids) FROM cache_outbox WHERE version > %s", last
        ).fetchall()
    assert len(recorded.changed) == 500
    assert len({position.version for position in recorded.changed}) == 1
    assert entries == [("prices", 500)]


async def test_recorded_prices_of_transaction_roll_back_with_it(db: AsyncDatabase) -> None:
    position = await bought(db, await funded_owner(db))
    with pytest.raises(ZeroDivisionError):
        async with db.transaction() as tx:
            recorded = await tx.positions.record_prices([PriceUpdate(position_id=position.id, price=Decimal("2"))])
            assert recorded.changed == (await tx.positions.find_by_id(position.id),)
            raise ZeroDivisionError
    assert await db.positions.find_by_id(position.id) == position


# --- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "problem"),
    [
        ("0", "greater than 0, is 0"),
        ("-1", "greater than 0, is -1"),
        ("NaN", "NaN is not a number"),
        ("Infinity", "Infinity is not a number"),
        ("1e-19", "1E-19 has more than 18 decimals"),
        ("1e20", r"1E\+20 has more than 20 whole digits"),
        (1.5, "a float is never accepted for money"),
    ],
)
async def test_impossible_price_is_refused_with_its_figure(price: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"price: .*{problem}"):
        PriceUpdate(position_id=uuid4(), price=price)


async def test_stop_loss_above_price_changes_nothing(db: AsyncDatabase) -> None:
    owner = await funded_owner(db)
    good, bad = await bought(db, owner, "A"), await bought(db, owner, "B")
    with pytest.raises(InvalidInput, match=rf"prices\[1\]\.stop_loss_percentage: .* 21 % .* 1 is .* 1\.2 .*{bad.id}"):
        await db.positions.record_prices(
            [
                PriceUpdate(position_id=good.id, price=Decimal("2")),
                PriceUpdate(position_id=bad.id, price=Decimal("1.2"), stop_loss_percentage=Decimal("21")),
            ]
        )
    assert await db.positions.find_by_id(good.id) == good
    assert await db.positions.find_by_id(bad.id) == bad


async def test_price_below_present_stop_loss_is_recorded(db: AsyncDatabase) -> None:
    position = await bought(db, await funded_owner(db))
    update = PriceUpdate(position_id=position.id, price=Decimal("0.5"), stop_loss_percentage=Decimal("-30"))
    (changed,) = (await db.positions.record_prices([update])).changed
    assert figures(changed) == (Decimal("0.5"), 1, -30)


async def test_position_given_twice_is_refused_with_both_places(db: AsyncDatabase) -> None:
    position = await bought(db, await funded_owner(db))
    other = PriceUpdate(position_id=uuid4(), price=Decimal("2"))
    update = PriceUpdate(position_id=position.id, price=Decimal("2"))
    with pytest.raises(InvalidInput, match=rf"{position.id} is given twice, at 0 and 2"):
        await db.positions.record_prices([update, other, update])
    assert await db.positions.find_by_id(position.id) == position


async def test_batch_beyond_ten_thousand_is_refused(db: AsyncDatabase) -> None:
    with pytest.raises(InvalidInput, match="10,001 are given, 10,000"):
        await db.positions.record_prices([PriceUpdate(position_id=uuid4(), price=Decimal("2"))] * 10_001)


async def test_object_that_is_no_price_is_refused_with_its_place(db: AsyncDatabase) -> None:
    with pytest.raises(InvalidInput, match="at 1: PriceUpdate expected, str given"):
        await db.positions.record_prices([PriceUpdate(position_id=uuid4(), price=Decimal("2")), "2"])  # type: ignore[list-item]


# --- At once --------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def crowd(database_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database with a connection for each of sixteen callers."""
    async with AsyncDatabase(replace(Settings.from_url(database_url), pool_max_size=16)) as database:
        yield database


async def test_sixteen_price_loops_and_traders_lose_nothing(crowd: AsyncDatabase, database_url: str) -> None:
    owners = [await funded_owner(crowd) for _ in range(4)]
    positions = {
        (await bought(crowd, owner, f"token{number}")).id: (owner, f"token{number}")
        for owner in owners
        for number in range(25)
    }
    recorded: dict[Any, list[Decimal]] = {position_id: [Decimal(1)] for position_id in positions}

    async def record(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(20):
            chosen = dice.sample(sorted(positions), 50)
            prices = {each: Decimal(dice.randrange(1, 10_000)) / 1000 for each in chosen}
            result = await crowd.positions.record_prices(
                [PriceUpdate(position_id=each, price=price) for each, price in prices.items()]
            )
            assert not result.closed
            for each, price in prices.items():
                recorded[each].append(price)

    async def trade(seed: int) -> None:
        dice = random.Random(seed)
        for number in range(20):
            if number % 5:
                owner, token = positions[dice.choice(sorted(positions))]
                await crowd.trades.dca_buy(owner.dca_buy("0.001", "0.001", token))
            else:
                chosen = [positions[each] for each in dice.sample(sorted(positions), 20)]
                orders = [owner.take_profit("0.0001", "0.01", token) for owner, token in chosen]
                results = await crowd.trades.execute_many(orders)
                assert not any(isinstance(result, TradeRefused) for result in results)

    await concurrently_async([lambda seed=seed: (record if seed % 2 else trade)(seed) for seed in range(16)])
    for position_id, prices in recorded.items():
        position = await crowd.positions.find_by_id(position_id)
        assert position is not None
        assert (position.lowest_price, position.peak_price) == (min(prices), max(prices))
    assert broken_rules(database_url) == {}
