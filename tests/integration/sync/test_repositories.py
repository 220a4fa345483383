# Generated from tests/integration/aio/test_repositories.py by `make sync`: do not edit.
"""Users, agents and wallets, and the reads of balances, positions, transactions and historical swaps."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from nexgent_db import Database
from nexgent_db.errors import (
    EmailTaken,
    ForeignKeyViolation,
    InvalidInput,
    LedgerProtected,
    WalletTaken,
    WalletTypeTaken,
)
from nexgent_db.models import SOL_MINT, SwapFilter, TransactionFilter
from tests.integration.sync.factories import TOKEN, Owner, new_owner
from tests.support.builders.purge import purge_agent
from tests.support.faults.concurrently import concurrently
from tests.support.oracles.state import rows_of


def test_user_is_found_by_id_and_by_email_in_any_case(db: Database) -> None:
    email = f"Ärger.{uuid4()}@Example.org"
    user = db.users.create(email, password_hash="scrypt$…")
    assert db.users.find_by_id(user.id) == user
    assert db.users.find_by_email(email.upper()) == user
    assert db.users.find_by_email("x" + email) is None
    assert (user.email, user.failed_login_attempts, user.locked_until) == (email, 0, None)
    assert "scrypt" not in repr(user)


def test_email_address_is_unique_in_any_case(db: Database) -> None:
    user = db.users.create(f"{uuid4()}@example.org")
    with pytest.raises(EmailTaken) as refused:
        db.users.create(user.email.upper())
    assert refused.value.constraint == "users_lower_email_key"


def test_user_is_created_with_given_id(db: Database) -> None:
    user_id = uuid4()
    assert db.users.create(f"{user_id}@example.org", user_id=user_id).id == user_id


def test_balances_equal_ledger_of_their_wallet(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "1", protocol_fee_sol="0.1"))
    assert db.balances.list_ledger_differences(owner.wallet_address) == []


@pytest.mark.parametrize("what", ["user", "agent", "wallet"])
def test_owner_of_ledger_is_not_deleted(db: Database, owner: Owner, database_url: str, what: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(LedgerProtected, match="the ledger is append-only: DELETE of agent_transactions"):
        match what:
            case "user":
                db.users.delete(owner.user_id)
            case "agent":
                db.agents.delete(owner.agent_id)
            case _:
                db.wallets.delete(owner.agent_id, owner.wallet_address)
    assert rows_of(database_url, owner.agent_id) == before


def test_deletion_of_user_cascades(db: Database, owner: Owner, database_url: str) -> None:
    db.trades.deposit(owner.deposit("10"))
    db.trades.buy(owner.buy("1", "1"))
    purge_agent(database_url, owner.agent_id)
    assert db.users.delete(owner.user_id) == 1
    assert db.users.delete(owner.user_id) == 0
    assert not any(rows_of(database_url, owner.agent_id).values())
    assert db.agents.find_by_id(owner.agent_id) is None


def test_agent_is_found_with_its_wallets_simulation_first(db: Database, owner: Owner) -> None:
    live = db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    found = db.agents.find_by_id(owner.agent_id)
    assert found is not None
    assert found.agent.id == owner.agent_id
    assert [wallet.wallet_type for wallet in found.wallets] == ["simulation", "live"]
    assert found.wallets[1] == live
    assert list(found.wallets) == db.wallets.list_by_agent(owner.agent_id)
    assert db.agents.find_by_id(uuid4()) is None


def test_agent_without_wallets_is_found(db: Database, owner: Owner) -> None:
    agent = db.agents.create(owner.user_id, "bare", "live")
    found = db.agents.find_by_id(agent.id)
    assert found is not None
    assert (found.agent, found.wallets) == (agent, ())


def test_list_of_agents_is_newest_first_within_limit(db: Database, owner: Owner) -> None:
    names = [f"agent {number}" for number in range(3)]
    for name in names:
        db.agents.create(owner.user_id, name)
    assert [each.agent.name for each in db.agents.find_by_user_id(owner.user_id)] == [*names[::-1], "tester"]
    assert [each.agent.name for each in db.agents.find_by_user_id(owner.user_id, limit=1)] == ["agent 2"]
    for limit in (0, -1, 10**9):
        with pytest.raises(InvalidInput) as refused:
            db.agents.find_by_user_id(owner.user_id, limit=limit)
        assert refused.value.field == "limit"


def test_wallets_are_found_by_agent_and_by_address(db: Database, owner: Owner) -> None:
    wallet = db.agents.find_wallet_by_agent_id(owner.agent_id, "simulation")
    assert wallet is not None
    assert wallet.wallet_address == owner.wallet_address
    assert db.agents.find_wallet_by_address(owner.wallet_address) == wallet
    assert db.agents.find_wallet_by_agent_id(owner.agent_id, "live") is None
    assert db.agents.find_wallet_by_address("nowhere") is None
    wrong: Any = "demo"
    with pytest.raises(InvalidInput, match="wallet_type"):
        db.agents.find_wallet_by_agent_id(owner.agent_id, wrong)


def test_update_changes_given_fields_only(db: Database, owner: Owner) -> None:
    before = db.agents.create(owner.user_id, "old")
    renamed = db.agents.update(before.id, name="new")
    assert renamed is not None
    unchanged = {"name": "old", "updated_at": before.updated_at, "version": before.version}
    assert renamed.model_copy(update=unchanged) == before
    assert renamed.version > before.version
    paused = db.agents.update(
        before.id, trading_mode="live", automated_trading_simulation=False, automated_trading_live=False
    )
    assert paused is not None
    assert (paused.name, paused.trading_mode) == ("new", "live")
    assert not paused.automated_trading_simulation
    assert not paused.automated_trading_live
    assert db.agents.update(uuid4(), name="nobody") is None


def test_agent_requires_user_and_wallet_requires_agent(db: Database) -> None:
    with pytest.raises(ForeignKeyViolation) as refused:
        db.agents.create(uuid4(), "nobody's")
    assert refused.value.constraint == "agents_user_id_fkey"
    with pytest.raises(ForeignKeyViolation):
        db.wallets.create(f"W{uuid4().hex}", uuid4(), "live")


def test_second_wallet_of_type_and_taken_address_are_refused(db: Database, owner: Owner) -> None:
    with pytest.raises(WalletTypeTaken) as second:
        db.wallets.create(f"W{uuid4().hex}", owner.agent_id, "simulation")
    assert second.value.constraint == "agent_wallets_agent_id_wallet_type_key"
    stranger = new_owner(db)
    with pytest.raises(WalletTaken) as taken:
        db.wallets.create(owner.wallet_address, stranger.agent_id, "live")
    assert taken.value.constraint == "agent_wallets_pkey"


def test_wallet_is_deleted_by_its_own_agent_only(db: Database, owner: Owner) -> None:
    stranger = new_owner(db)
    assert db.wallets.delete(stranger.agent_id, owner.wallet_address) == 0
    assert db.wallets.delete(owner.agent_id, owner.wallet_address) == 1
    assert db.agents.find_wallet_by_address(owner.wallet_address) is None


def test_lists_filter_by_wallet_or_return_all(db: Database, owner: Owner) -> None:
    live = Owner(
        owner.user_id,
        owner.agent_id,
        db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live").wallet_address,
    )
    for holder in (owner, live):
        db.trades.deposit(holder.deposit("10"))
        db.trades.buy(holder.buy("1", "1"))
        db.trades.buy(holder.buy("1", "1", "Other"))
        db.trades.sell(holder.sell("1", "2", "Other"))
    agent = owner.agent_id
    assert len(db.positions.list_by_agent(agent)) == 2
    assert [p.wallet_address for p in db.positions.list_by_agent(agent, live.wallet_address)] == [live.wallet_address]
    assert len(db.historical_swaps.list_by_agent(agent)) == 2
    assert len(db.historical_swaps.list_by_agent(agent, SwapFilter(wallet_address=owner.wallet_address))) == 1
    assert len(db.transactions.list_by_agent(agent)) == 8
    mine = TransactionFilter(wallet_address=owner.wallet_address)
    newest_first = db.transactions.list_by_agent(agent, mine, limit=3)
    times = [transaction.transaction_time for transaction in newest_first]
    assert len(times) == 3
    assert times == sorted(times, reverse=True)
    balances = db.balances.list_by_wallet(agent, owner.wallet_address)
    assert {balance.token_address: balance.balance for balance in balances} == {SOL_MINT: 10, TOKEN: 1, "Other": 0}
    total = db.historical_swaps.total_by_wallet(agent, owner.wallet_address)
    assert (total.closed, total.profit_loss_sol) == (1, 1)
    still_open = db.positions.total_by_wallet(agent, owner.wallet_address)
    assert (still_open.open, still_open.realized_profit_sol) == (1, 0)


def test_balances_of_one_token_are_listed_for_many_wallets(db: Database, owner: Owner) -> None:
    other, empty = new_owner(db), new_owner(db)
    for holder in (owner, other):
        db.trades.deposit(holder.deposit("10"))
        db.trades.deposit(holder.deposit("5", TOKEN))
    wallets = [owner.wallet_address, other.wallet_address, empty.wallet_address, owner.wallet_address, "nowhere"]
    listed = db.balances.list_by_wallets(SOL_MINT, wallets)
    assert {row.wallet_address: (row.token_address, row.balance) for row in listed} == {
        owner.wallet_address: (SOL_MINT, 10),
        other.wallet_address: (SOL_MINT, 10),
    }
    assert len(listed) == 2
    assert db.balances.list_by_wallets(SOL_MINT, []) == []
    for token, given, field in ((SOL_MINT, ["W"] * 10_001, "wallet_addresses"), ("", ["W"], "token_address")):
        with pytest.raises(InvalidInput) as refused:
            db.balances.list_by_wallets(token, given)
        assert refused.value.field == field


def test_requests_are_found_by_their_ids(db: Database, owner: Owner) -> None:
    orders = [owner.deposit("10"), owner.deposit("20")]
    for order in orders:
        db.trades.deposit(order)
    found = db.trade_requests.list_by_ids([*(order.trade_id for order in orders), uuid4()])
    assert {request.id: request.operation for request in found} == {order.trade_id: "deposit" for order in orders}
    assert db.trade_requests.list_by_ids([]) == []


def test_concurrent_claims_of_wallet_by_two_agents_give_it_to_one(db: Database, owner: Owner) -> None:
    stranger = new_owner(db)
    address = f"L{uuid4().hex}"
    created = concurrently(
        [partial(db.wallets.create, address, each.agent_id, "live") for each in (owner, stranger)],
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in created) == ["AgentWallet", "WalletTaken"]
    found = db.agents.find_wallet_by_address(address)
    assert found in created


def test_concurrent_wallets_of_one_type_create_one(db: Database, owner: Owner) -> None:
    created = concurrently(
        [partial(db.wallets.create, f"L{uuid4().hex}", owner.agent_id, "live") for _ in range(2)],
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in created) == ["AgentWallet", "WalletTypeTaken"]
    assert len(db.wallets.list_by_agent(owner.agent_id)) == 2
