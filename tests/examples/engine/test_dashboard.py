"""The dashboard's lists on real servers, for a logged-in user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.settings import Settings
from tests.examples.engine.dashboard import closed_trades, open_trades, performance, take_profit_line
from tests.examples.engine.support import TOKENS, bought, trips_of
from tests.integration.aio.factories import Owner, funded_owner
from tests.support.servers.roles import RoledDatabase


@pytest_asyncio.fixture
async def service(roled: RoledDatabase) -> AsyncIterator[AsyncDatabase]:
    """The service's database, for all users."""
    async with AsyncDatabase(roled.url_of("app")) as database:
        yield database


@pytest_asyncio.fixture
async def owner(service: AsyncDatabase) -> Owner:
    return await funded_owner(service)


@pytest_asyncio.fixture
async def db(roled: RoledDatabase, owner: Owner) -> AsyncIterator[AsyncDatabase]:
    """The logged-in user's database, with a single connection."""
    settings = replace(Settings.from_url(roled.url_of("app")), pool_max_size=1)
    async with AsyncDatabase(settings, tenant=owner.user_id) as database:
        yield database


async def test_open_trades_show_their_purchases(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.buy(owner.buy("1", "1000", TOKENS[0], transaction_hash="hash"))
    await db.trades.dca_buy(owner.dca_buy("1", "500", TOKENS[0]))
    await bought(db, owner, TOKENS[1])
    newest, oldest = await open_trades(db, owner.agent_id)
    assert (newest.token_symbol, newest.transaction_hash, newest.invested_sol) == (TOKENS[1][:10], None, 1)
    assert (oldest.transaction_hash, oldest.invested_sol, oldest.remaining_amount) == ("hash", 2, 1500)
    assert oldest.bought_at < newest.bought_at


async def test_take_profits_are_summed_up_in_a_line(db: AsyncDatabase, owner: Owner) -> None:
    await bought(db, owner, *TOKENS[:3])
    await db.trades.take_profit(owner.take_profit("500", "1.5", TOKENS[0], moon_bag_amount="10"))
    line = await take_profit_line(db, owner.agent_id)
    assert line == "1 of 3 positions took profit: 1 SOL, 1 moon bags"


async def test_closed_trades_with_profit_come_page_by_page(db: AsyncDatabase, owner: Owner) -> None:
    for number in range(30):
        await bought(db, owner, TOKENS[0])
        await db.trades.sell(owner.sell("1000", "0.5" if number % 10 == 9 else "2", TOKENS[0]))
    first = await closed_trades(db, owner.agent_id)
    second = await closed_trades(db, owner.agent_id, first.next)
    assert (len(first.items), len(second.items), second.next) == (25, 2, None)
    times = [swap.sale_time for swap in (*first.items, *second.items)]
    assert times == sorted(times, reverse=True)
    assert {swap.profit_loss_sol for swap in (*first.items, *second.items)} == {1}
    day, ever = await performance(db, owner.agent_id, datetime.now(UTC))
    assert (day, ever.closed_trades, ever.won_trades, ever.realized_profit_sol) == (ever, 30, 27, 25.5)


async def test_user_sees_nothing_of_other_users(service: AsyncDatabase, db: AsyncDatabase) -> None:
    other = await funded_owner(service)
    await bought(service, other, *TOKENS[:2])
    await service.trades.sell(other.sell("1000", "2", TOKENS[0]))
    assert await open_trades(service, other.agent_id) != []
    assert await open_trades(db, other.agent_id) == []
    assert (await closed_trades(db, other.agent_id)).items == []
    assert (await performance(db, other.agent_id, datetime.now(UTC)))[1].closed_trades == 0
    assert await take_profit_line(db, other.agent_id) == "0 of 0 positions took profit: 0 SOL, 0 moon bags"


async def test_each_list_is_one_round_trip(db: AsyncDatabase, owner: Owner) -> None:
    await bought(db, owner, *TOKENS[:5])
    agent, now = owner.agent_id, datetime.now(UTC)
    assert await trips_of(db, lambda: open_trades(db, agent)) == 1
    assert await trips_of(db, lambda: take_profit_line(db, agent)) == 1
    assert await trips_of(db, lambda: closed_trades(db, agent)) == 1
    assert await trips_of(db, lambda: performance(db, agent, now)) == 2
