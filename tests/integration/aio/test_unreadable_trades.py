"""Trades with an unreadable result: the error says that the trade was committed, or the transaction is rolled back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase, AsyncTransaction, Settings
from nexgent_db.errors import CommittedButUnread, ForeignKeyViolation, UnreadableValue
from nexgent_db.models import SOL_MINT
from nexgent_db.observe import QueryEvent
from tests.integration.aio.factories import TOKEN, Owner, balance_of, new_owner
from tests.support.faults.unreadable import BEYOND, unreadable
from tests.support.oracles.state import rows_of
from tests.support.servers.roles import RoledDatabase

LEDGER = ("agent_transactions", "transaction_time")


@pytest_asyncio.fixture
async def db(fresh_database_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database of the test's own."""
    async with AsyncDatabase(fresh_database_url) as database:
        yield database


@pytest_asyncio.fixture
async def trader(db: AsyncDatabase) -> Owner:
    """An agent with 100 SOL and a position of 10 tokens."""
    return await prepared(db)


async def prepared(db: AsyncDatabase) -> Owner:
    owner = await new_owner(db)
    await db.trades.deposit(owner.deposit("101"))
    await db.trades.buy(owner.buy("1", "10"))
    return owner


# --- Trades -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trade:
    """A trade of ``trader``, and a column of its result."""

    method: str
    order: Callable[[Owner], Any]
    table: str
    column: str

    async def make(self, on: AsyncDatabase | AsyncTransaction, order: Any) -> Any:
        return await getattr(on.trades, self.method)(order)


TRADES = [
    Trade("deposit", lambda owner: owner.deposit("1"), *LEDGER),
    Trade("withdraw", lambda owner: owner.withdraw("1"), *LEDGER),
    Trade("burn", lambda owner: owner.burn("1", TOKEN), *LEDGER),
    Trade("swap", lambda owner: owner.swap("1", SOL_MINT, "1", "Other"), *LEDGER),
    Trade("buy", lambda owner: owner.buy("1", "1", "Other"), *LEDGER),
    Trade("buy", lambda owner: owner.buy("1", "1", "Other"), "agent_positions", "created_at"),
    Trade("dca_buy", lambda owner: owner.dca_buy("1", "1"), "agent_positions", "last_dca_time"),
    Trade("take_profit", lambda owner: owner.take_profit("1", "1"), "agent_positions", "last_take_profit_time"),
    Trade("sell", lambda owner: owner.sell("10", "1"), "agent_historical_swaps", "sale_time"),
    Trade("sell", lambda owner: owner.sell("10", "1"), *LEDGER),
    Trade("reset_wallet", lambda owner: owner.reset("5"), *LEDGER),
]
TRADE_IDS = [f"{trade.method}-{trade.table}" for trade in TRADES]


@pytest.mark.parametrize("trade", TRADES, ids=TRADE_IDS)
async def test_unreadable_committed_trade_raises_and_is_returned_when_readable(
    db: AsyncDatabase, trader: Owner, fresh_database_url: str, trade: Trade
) -> None:
    order = trade.order(trader)
    with unreadable(fresh_database_url, trade.table, trade.column):
        # The trade, and its duplicate; a purchase's position is not stored a second time, but follows from the order.
        for _ in range(1 if (trade.method, trade.table) == ("buy", "agent_positions") else 2):
            with pytest.raises(CommittedButUnread) as caught:
                await trade.make(db, order)
            assert caught.value.request_id == order.request_id
            assert caught.value.query.startswith("trades.")
            assert trade.column in str(caught.value)
            assert "infinity" not in str(caught.value)
            assert isinstance(caught.value.__cause__, UnreadableValue)
            (request,) = await db.trade_requests.list_by_ids([order.trade_id])
    before = rows_of(fresh_database_url, trader.agent_id)
    again = await trade.make(db, order)
    assert again.duplicate
    assert rows_of(fresh_database_url, trader.agent_id) == before
    assert request.id == order.trade_id


@pytest.mark.parametrize("pipeline", [False, True], ids=["block", "pipeline"])
@pytest.mark.parametrize("trade", TRADES, ids=TRADE_IDS)
async def test_unreadable_trade_in_transaction_is_rolled_back(
    db: AsyncDatabase, trader: Owner, fresh_database_url: str, trade: Trade, pipeline: bool
) -> None:
    order = trade.order(trader)
    before = rows_of(fresh_database_url, trader.agent_id)

    async def trade_in_a_block() -> None:
        async with db.transaction(pipeline=pipeline) as tx:
            await tx.agents.update(trader.agent_id, name="renamed")
            await trade.make(tx, order)

    with unreadable(fresh_database_url, trade.table, trade.column):
        with pytest.raises(UnreadableValue, match=trade.column) as caught:
            await trade_in_a_block()
        assert caught.value.query.startswith("trades.")
        assert rows_of(fresh_database_url, trader.agent_id) == before
        assert [each.agent.name for each in await db.agents.find_by_user_id(trader.user_id)] == ["tester"]
    assert not (await trade.make(db, order)).duplicate


@pytest.mark.parametrize("value", BEYOND)
async def test_times_beyond_calendar_are_distinguished(
    db: AsyncDatabase, trader: Owner, fresh_database_url: str, value: str
) -> None:
    with unreadable(fresh_database_url, *LEDGER, value), pytest.raises(CommittedButUnread):
        await db.trades.deposit(trader.deposit("1"))
    assert await balance_of(db, trader) == 101


async def test_unreadable_committed_trade_of_tenant_raises(roled: RoledDatabase) -> None:
    settings = Settings.from_url(roled.url_of("app"))
    async with AsyncDatabase(settings) as service:
        owner = await prepared(service)
        async with AsyncDatabase(settings, tenant=owner.user_id) as tenant:
            order = owner.deposit("1")
            with unreadable(roled.url, *LEDGER), pytest.raises(CommittedButUnread) as caught:
                await tenant.trades.deposit(order)
            assert caught.value.request_id == order.request_id
            assert (await tenant.trades.deposit(order)).duplicate
            with unreadable(roled.url, "agents", "created_at"), pytest.raises(CommittedButUnread):
                await tenant.agents.update(owner.agent_id, name="renamed")
            assert [each.agent.name for each in await tenant.agents.find_by_user_id(owner.user_id)] == ["renamed"]


async def test_hook_receives_outcome_of_unreadable_trade(fresh_database_url: str) -> None:
    events: list[QueryEvent] = []
    async with AsyncDatabase(fresh_database_url, on_query=events.append) as observed:
        owner = await prepared(observed)
        events.clear()
        with unreadable(fresh_database_url, *LEDGER), pytest.raises(CommittedButUnread) as trade:
            await observed.trades.deposit(owner.deposit("1"))
        with unreadable(fresh_database_url, "users", "created_at"), pytest.raises(CommittedButUnread) as caught:
            await observed.users.create("one@example.org")
    assert [(event.name, event.outcome, type(event.error)) for event in events] == [
        ("trades.record_transaction", None, type(trade.value)),
        ("users.create", None, type(caught.value)),
    ]


async def test_trade_with_transaction_discarded_by_trigger_is_undone(
    db: AsyncDatabase, trader: Owner, fresh_database_url: str
) -> None:
    with psycopg.connect(fresh_database_url) as connection:
        connection.execute("CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
        connection.execute(
            "CREATE TRIGGER swallow BEFORE INSERT ON agent_transactions FOR EACH ROW EXECUTE FUNCTION swallow()"
        )
    before = rows_of(fresh_database_url, trader.agent_id)
    with pytest.raises(ForeignKeyViolation, match="a trigger or rule discarded transaction"):
        await db.trades.deposit(trader.deposit("1"))
    assert rows_of(fresh_database_url, trader.agent_id) == before


async def test_deposit_equal_to_fee_changes_no_balance(db: AsyncDatabase, trader: Owner) -> None:
    order = trader.deposit("0.5", network_fee_sol="0.2", protocol_fee_sol="0.3")
    made = await db.trades.deposit(order)
    assert (made.balances, made.transaction.input_amount, made.duplicate) == ((), order.amount, False)
    assert await db.trades.deposit(order) == made.model_copy(update={"duplicate": True})
    assert await balance_of(db, trader) == 100
    empty = await new_owner(db)
    assert (await db.trades.deposit(empty.deposit("1", network_fee_sol="1"))).balances == ()


async def test_cache_reads_database_after_unreadable_trade(fresh_database_url: str, redis_url: str) -> None:
    settings = replace(Settings.from_url(fresh_database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as cached:
        owner = await prepared(cached)
        for _ in range(2):
            balance = await cached.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
            assert balance is not None
        with unreadable(fresh_database_url, *LEDGER), pytest.raises(CommittedButUnread):
            await cached.trades.withdraw(owner.withdraw("40"))
        balance = await cached.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
        assert balance is not None
        assert balance.balance == 60


# --- Refused at the COMMIT itself ---------------------------------------------------------------

_REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'refused at the commit' USING ERRCODE = 'restrict_violation'; END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON agent_transactions DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.mark.parametrize("how", ["alone", "block", "pipeline", "tenant"])
async def test_trade_with_failed_commit_is_not_acknowledged(roled: RoledDatabase, how: str) -> None:
    """The answer of the statement has arrived before the COMMIT fails."""
    settings = Settings.from_url(roled.url_of("app"))
    async with AsyncDatabase(settings) as service:
        owner = await prepared(service)
        async with AsyncDatabase(settings, tenant=owner.user_id) as tenant:
            with psycopg.connect(roled.url, autocommit=True) as connection:
                connection.execute(_REFUSE)
                try:
                    before = rows_of(roled.url, owner.agent_id)
                    with pytest.raises(ForeignKeyViolation, match="refused at the commit"):
                        await _deposit(tenant if how == "tenant" else service, owner, how)
                    assert rows_of(roled.url, owner.agent_id) == before
                finally:
                    connection.execute("DROP FUNCTION refuse CASCADE")
            await tenant.trades.deposit(owner.deposit("1"))


async def _deposit(db: AsyncDatabase, owner: Owner, how: str) -> None:
    if how in ("alone", "tenant"):
        await db.trades.deposit(owner.deposit("1"))
    else:
        async with db.transaction(pipeline=how == "pipeline") as tx:
            await tx.trades.deposit(owner.deposit("1"))
