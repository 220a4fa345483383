"""Users, agents and wallets, and the reads of balances, positions, transactions and historical swaps."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.errors import (
    EmailTaken,
    ForeignKeyViolation,
    InvalidInput,
    LedgerProtected,
    WalletTaken,
    WalletTypeTaken,
)
from nexgent_db.models import SOL_MINT, SwapFilter, TransactionFilter
from tests.integration.aio.factories import TOKEN, Owner, new_owner
from tests.support.builders.purge import purge_agent
from tests.support.faults.concurrently import concurrently_async
from tests.support.oracles.state import rows_of


async def test_user_is_found_by_id_and_by_email_in_any_case(db: AsyncDatabase) -> None:
    email = f"Ärger.{uuid4()}@Example.org"
    user = await db.users.create(email, password_hash="scrypt$…")
    assert await db.users.find_by_id(user.id) == user
    assert await db.users.find_by_email(email.upper()) == user
    assert await db.users.find_by_email("x" + email) is None
    assert (user.email, user.failed_login_attempts, user.locked_until) == (email, 0, None)
    assert "scrypt" not in repr(user)


async def test_email_address_is_unique_in_any_case(db: AsyncDatabase) -> None:
    user = await db.users.create(f"{uuid4()}@example.org")
    with pytest.raises(EmailTaken) as refused:
        await db.users.create(user.email.upper())
    assert refused.value.constraint == "users_lower_email_key"


async def test_user_is_created_with_given_id(db: AsyncDatabase) -> None:
    user_id = uuid4()
    assert (await db.users.create(f"{user_id}@example.org", user_id=user_id)).id == user_id


async def test_balances_equal_ledger_of_their_wallet(db: AsyncDatabase, owner: Owner) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "1", protocol_fee_sol="0.1"))
    assert await db.balances.list_ledger_differences(owner.wallet_address) == []


@pytest.mark.parametrize("what", ["user", "agent", "wallet"])
async def test_owner_of_ledger_is_not_deleted(db: AsyncDatabase, owner: Owner, database_url: str, what: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(LedgerProtected, match="the ledger is append-only: DELETE of agent_transactions"):
        match what:
            case "user":
                await db.users.delete(owner.user_id)
            case "agent":
                await db.agents.delete(owner.agent_id)
            case _:
                await db.wallets.delete(owner.agent_id, owner.wallet_address)
    assert rows_of(database_url, owner.agent_id) == before


async def test_deletion_of_user_cascades(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.trades.deposit(owner.deposit("10"))
    await db.trades.buy(owner.buy("1", "1"))
    purge_agent(database_url, owner.agent_id)
    assert await db.users.delete(owner.user_id) == 1
    assert await db.users.delete(owner.user_id) == 0
    assert not any(rows_of(database_url, owner.agent_id).values())
    assert await db.agents.find_by_id(owner.agent_id) is None


async def test_agent_is_found_with_its_wallets_simulation_first(db: AsyncDatabase, owner: Owner) -> None:
    live = await db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    found = await db.agents.find_by_id(owner.agent_id)
    assert found is not None
    assert found.agent.id == owner.agent_id
    assert [wallet.wallet_type for wallet in found.wallets] == ["simulation", "live"]
    assert found.wallets[1] == live
    assert list(found.wallets) == await db.wallets.list_by_agent(owner.agent_id)
    assert await db.agents.find_by_id(uuid4()) is None


async def test_agent_without_wallets_is_found(db: AsyncDatabase, owner: Owner) -> None:
    agent = await db.agents.create(owner.user_id, "bare", "live")
    found = await db.agents.find_by_id(agent.id)
    assert found is not None
    assert (found.agent, found.wallets) == (agent, ())


async def test_list_of_agents_is_newest_first_within_limit(db: AsyncDatabase, owner: Owner) -> None:
    names = [f"agent {number}" for number in range(3)]
    for name in names:
        await db.agents.create(owner.user_id, name)
    assert [each.agent.name for each in await db.agents.find_by_user_id(owner.user_id)] == [*names[::-1], "tester"]
    assert [each.agent.name for each in await db.agents.find_by_user_id(owner.user_id, limit=1)] == ["agent 2"]
    for limit in (0, -1, 10**9):
        with pytest.raises(InvalidInput) as refused:
            await db.agents.find_by_user_id(owner.user_id, limit=limit)
        assert refused.value.field == "limit"


async def test_wallets_are_found_by_agent_and_by_address(db: AsyncDatabase, owner: Owner) -> None:
    wallet = await db.agents.find_wallet_by_agent_id(owner.agent_id, "simulation")
    assert wallet is not None
    assert wallet.wallet_address == owner.wallet_address
    assert await db.agents.find_wallet_by_address(owner.wallet_address) == wallet
    assert await db.agents.find_wallet_by_agent_id(owner.agent_id, "live") is None
    assert await db.agents.find_wallet_by_address("nowhere") is None
    wrong: Any = "demo"
    with pytest.raises(InvalidInput, match="wallet_type"):
        await db.agents.find_wallet_by_agent_id(owner.agent_id, wrong)


async def test_update_changes_given_fields_only(db: AsyncDatabase, owner: Owner) -> None:
    before = await db.agents.create(owner.user_id, "old")
    renamed = await db.agents.update(before.id, name="new")
    assert renamed is not None
    unchanged = {"name": "old", "updated_at": before.updated_at, "version": before.version}
    assert renamed.model_copy(update=unchanged) == before
    assert renamed.version > before.version
    paused = await db.agents.update(
        before.id, trading_mode="live", automated_trading_simulation=False, automated_trading_live=False
    )
    assert paused is not None
    assert (paused.name, paused.trading_mode) == ("new", "live")
    assert not paused.automated_trading_simulation
    assert not paused.automated_trading_live
    assert await db.agents.update(uuid4(), name="nobody") is None


async def test_agent_requires_user_and_wallet_requires_agent(db: AsyncDatabase) -> None:
    with pytest.raises(ForeignKeyViolation) as refused:
        await db.agents.create(uuid4(), "nobody's")
    assert refused.value.constraint == "agents_user_id_fkey"
    with pytest.raises(ForeignKeyViolation):
        await db.wallets.create(f"W{uuid4().hex}", uuid4(), "live")


async def test_second_wallet_of_type_and_taken_address_are_refused(db: AsyncDatabase, owner: Owner) -> None:
    with pytest.raises(WalletTypeTaken) as second:
        await db.wallets.create(f"W{uuid4().hex}", owner.agent_id, "simulation")
    assert second.value.constraint == "agent_wallets_agent_id_wallet_type_key"
    stranger = await new_owner(db)
    with pytest.raises(WalletTaken) as taken:
        await db.wallets.create(owner.wallet_address, stranger.agent_id, "live")
    assert taken.value.constraint == "agent_wallets_pkey"


async def test_wallet_is_deleted_by_its_own_agent_only(db: AsyncDatabase, owner: Owner) -> None:
    stranger = await new_owner(db)
    assert await db.wallets.delete(stranger.agent_id, owner.wallet_address) == 0
    assert await db.wallets.delete(owner.agent_id, owner.wallet_address) == 1
    assert await db.agents.find_wallet_by_address(owner.wallet_address) is None


async def test_lists_filter_by_wallet_or_return_all(db: AsyncDatabase, owner: Owner) -> None:
    live = Owner(
        owner.user_id,
        owner.agent_id,
        (await db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")).wallet_address,
    )
    for holder in (owner, live):
        await db.trades.deposit(holder.deposit("10"))
        await db.trades.buy(holder.buy("1", "1"))
        await db.trades.buy(holder.buy("1", "1", "Other"))
        await db.trades.sell(holder.sell("1", "2", "Other"))
    agent = owner.agent_id
    assert len(await db.positions.list_by_agent(agent)) == 2
    assert [p.wallet_address for p in await db.positions.list_by_agent(agent, live.wallet_address)] == [
        live.wallet_address
    ]
    assert len(await db.historical_swaps.list_by_agent(agent)) == 2
    assert len(await db.historical_swaps.list_by_agent(agent, SwapFilter(wallet_address=owner.wallet_address))) == 1
    assert len(await db.transactions.list_by_agent(agent)) == 8
    mine = TransactionFilter(wallet_address=owner.wallet_address)
    newest_first = await db.transactions.list_by_agent(agent, mine, limit=3)
    times = [transaction.transaction_time for transaction in newest_first]
    assert len(times) == 3
    assert times == sorted(times, reverse=True)
    balances = await db.balances.list_by_wallet(agent, owner.wallet_address)
    assert {balance.token_address: balance.balance for balance in balances} == {SOL_MINT: 10, TOKEN: 1, "Other": 0}
    total = await db.historical_swaps.total_by_wallet(agent, owner.wallet_address)
    assert (total.closed, total.profit_loss_sol) == (1, 1)
    still_open = await db.positions.total_by_wallet(agent, owner.wallet_address)
    assert (still_open.open, still_open.realized_profit_sol) == (1, 0)


async def test_balances_of_one_token_are_listed_for_many_wallets(db: AsyncDatabase, owner: Owner) -> None:
    other, empty = await new_owner(db), await new_owner(db)
    for holder in (owner, other):
        await db.trades.deposit(holder.deposit("10"))
        await db.trades.deposit(holder.deposit("5", TOKEN))
    wallets = [owner.wallet_address, other.wallet_address, empty.wallet_address, owner.wallet_address, "nowhere"]
    listed = await db.balances.list_by_wallets(SOL_MINT, wallets)
    assert {row.wallet_address: (row.token_address, row.balance) for row in listed} == {
        owner.wallet_address: (SOL_MINT, 10),
        other.wallet_address: (SOL_MINT, 10),
    }
    assert len(listed) == 2
    assert await db.balances.list_by_wallets(SOL_MINT, []) == []
    for token, given, field in ((SOL_MINT, ["W"] * 10_001, "wallet_addresses"), ("", ["W"], "token_address")):
        with pytest.raises(InvalidInput) as refused:
            await db.balances.list_by_wallets(token, given)
        assert refused.value.field == field


async def test_requests_are_found_by_their_ids(db: AsyncDatabase, owner: Owner) -> None:
    orders = [owner.deposit("10"), owner.deposit("20")]
    for order in orders:
        await db.trades.deposit(order)
    found = await db.trade_requests.list_by_ids([*(order.trade_id for order in orders), uuid4()])
    assert {request.id: request.operation for request in found} == {order.trade_id: "deposit" for order in orders}
    assert await db.trade_requests.list_by_ids([]) == []


async def test_concurrent_claims_of_wallet_by_two_agents_give_it_to_one(db: AsyncDatabase, owner: Owner) -> None:
    stranger = await new_owner(db)
    address = f"L{uuid4().hex}"
    created = await concurrently_async(
        [partial(db.wallets.create, address, each.agent_id, "live") for each in (owner, stranger)],
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in created) == ["AgentWallet", "WalletTaken"]
    found = await db.agents.find_wallet_by_address(address)
    assert found in created


async def test_concurrent_wallets_of_one_type_create_one(db: AsyncDatabase, owner: Owner) -> None:
    created = await concurrently_async(
        [partial(db.wallets.create, f"L{uuid4().hex}", owner.agent_id, "live") for _ in range(2)],
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in created) == ["AgentWallet", "WalletTypeTaken"]
    assert len(await db.wallets.list_by_agent(owner.agent_id)) == 2
