# Generated from tests/integration/aio/test_administration.py by `make sync`: do not edit.
"""Administration: agents of all users with their wallets, users, wallets, keys, signals, swaps with their signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import InvalidInput, ListTooLong
from nexgent_db.models import (
    AfterAddress,
    AfterTime,
    AfterUuid,
    AgentFilter,
    AgentWithWallets,
    Page,
    SignalOrder,
    SwapFilter,
)
from nexgent_db.queries import binding
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner

Item = TypeVar("Item")


def pages_of(page: Callable[[str | None], Page[Item]], size: int) -> list[Item]:
    """The items of all pages; every page but the last is full."""
    found: list[Item] = []
    cursor = None
    while True:
        one = page(cursor)
        found += one.items
        if one.next is None:
            assert len(one.items) <= size
            return found
        assert len(one.items) == size
        cursor = one.next


# --- Agents -------------------------------------------------------------------------------------


def new_agents(db: Database) -> dict[str, UUID]:
    """Agents of two users, by what they are."""
    simulating, other = new_owner(db), new_owner(db, "live")
    both = db.agents.create(simulating.user_id, "both", "live")
    for kind in ("simulation", "live"):
        db.wallets.create(f"W{uuid4().hex}", both.id, kind)
    bare = db.agents.create(other.user_id, "bare", "live")
    db.agents.set_automated_trading(both.id, "live", False)
    db.agents.set_automated_trading(both.id, "simulation", True)
    return {"simulation": simulating.agent_id, "mode differs": other.agent_id, "both": both.id, "bare": bare.id}


@pytest.mark.parametrize(
    ("filter_", "names"),
    [
        ({}, {"simulation", "mode differs", "both", "bare"}),
        ({"trading_mode": "live"}, {"both", "bare"}),
        ({"automated_trading": False}, {"both"}),
        ({"automated_trading": True, "trading_mode": "live"}, {"bare"}),
        ({"has_wallet": True}, {"simulation", "mode differs", "both"}),
        ({"has_wallet": False}, {"bare"}),
        ({"wallet_type": "simulation"}, {"simulation", "both"}),
        ({"wallet_type": "live", "trading_mode": "simulation"}, {"mode differs"}),
    ],
)
def test_agents_of_all_users_are_filtered_listed_paged_and_streamed(
    db: Database, filter_: dict[str, Any], names: set[str]
) -> None:
    agents = new_agents(db)
    chosen = AgentFilter(**filter_)
    listed = db.agents.list_all(chosen)
    assert {name for name, agent_id in agents.items() if agent_id in {each.agent.id for each in listed}} == names
    assert [each.agent.id for each in listed] == sorted(each.agent.id for each in listed)
    for each in listed:
        assert db.agents.find_by_id(each.agent.id) == each
    for size in (1, 3, 9_999):
        paged = pages_of(lambda cursor, size=size: db.agents.page_all(chosen, size, cursor), size)  # type: ignore[misc]
        assert paged == listed
    assert [each for each in db.agents.stream_all(chosen)] == listed
    assert db.agents.list_all(chosen, AfterUuid(after_id=listed[0].agent.id)) == listed[1:]
    assert db.agents.list_all(chosen, limit=1) == listed[:1]


def test_agents_of_user_have_their_wallets_newest_first(db: Database, owner: Owner) -> None:
    live = db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    bare = db.agents.create(owner.user_id, "bare")
    found = db.agents.find_by_user_id(owner.user_id)
    assert [each.agent.id for each in found] == [bare.id, owner.agent_id]
    assert found[0] == AgentWithWallets(agent=bare, wallets=())
    assert found[1].wallets[1] == live
    assert found[1] == db.agents.find_by_id(owner.agent_id)
    assert pages_of(lambda cursor: db.agents.page_by_user_id(owner.user_id, 1, cursor), 1) == found
    assert db.agents.find_by_user_id(uuid4()) == []


def test_limit_counts_agents_not_wallets(db: Database, owner: Owner) -> None:
    db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    (agent,) = db.agents.find_by_user_id(owner.user_id, limit=1)
    assert len(agent.wallets) == 2
    page = db.agents.page_by_user_id(owner.user_id, limit=1)
    assert (len(page.items), page.next) == (1, None)


def test_stream_of_agents_that_is_left_releases_its_connection(db: Database) -> None:
    new_agents(db)
    for _ in range(db.settings.pool_max_size + 1):
        stream = db.agents.stream_all()
        for _agent in stream:
            break
        stream.close()  # type: ignore[attr-defined]
    assert db.agents.list_all(limit=1)


def test_stream_of_agents_works_in_transaction(db: Database) -> None:
    new_agents(db)
    with db.transaction() as tx:
        inside = [each for each in tx.agents.stream_all(AgentFilter(has_wallet=True))]
        assert inside == tx.agents.list_all(AgentFilter(has_wallet=True))


@pytest.mark.parametrize("limit", [0, -1, 10_001, True, "1"])
def test_limit_out_of_range_is_refused_with_its_bound(db: Database, owner: Owner, limit: Any) -> None:
    for call in (
        lambda: db.agents.list_all(limit=limit),
        lambda: db.agents.page_all(limit=limit),
        lambda: db.agents.find_by_user_id(owner.user_id, limit=limit),
        lambda: db.agents.page_by_user_id(owner.user_id, limit=limit),
        lambda: db.users.list(limit=limit),
        lambda: db.users.page(limit=limit),
        lambda: db.wallets.list_all(limit=limit),
        lambda: db.wallets.page_all(limit=limit),
        lambda: db.api_keys.page_by_user(owner.user_id, limit=limit),
        lambda: db.balances.page_by_wallet(owner.agent_id, owner.wallet_address, limit=limit),
        lambda: db.historical_swaps.list_with_signal(owner.agent_id, limit=limit),
        lambda: db.historical_swaps.page_with_signal(owner.agent_id, limit=limit),
    ):
        with pytest.raises(InvalidInput) as refused:
            call()
        assert refused.value.field == "limit"


def test_cursor_of_other_list_is_refused(db: Database, owner: Owner) -> None:
    new_agents(db)
    cursor = db.agents.page_all(limit=1).next
    assert cursor is not None
    for call in (
        lambda: db.wallets.page_all(cursor=cursor),
        lambda: db.users.page(cursor=cursor),
        lambda: db.agents.page_by_user_id(owner.user_id, cursor=cursor),
        lambda: db.balances.page_by_wallet(owner.agent_id, owner.wallet_address, cursor=cursor),
    ):
        with pytest.raises(InvalidInput, match="a cursor of agents, not of"):
            call()


# --- Users, wallets -----------------------------------------------------------------------------


def test_first_user_is_the_earliest(fresh_database_url: str) -> None:
    with Database(fresh_database_url) as db:
        assert db.users.find_first() is None
        assert db.users.list() == []
        users = [db.users.create(f"{number}@example.org") for number in range(5)]
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("UPDATE users SET created_at = '2020-01-01Z' WHERE id = %s", [users[3].id])
            connection.execute("UPDATE users SET created_at = '2021-01-01Z' WHERE id <> %s", [users[3].id])
        first = db.users.find_first()
        assert first is not None
        assert first.id == users[3].id
        listed = db.users.list()
        others = sorted(user.id for user in users if user.id != first.id)
        assert [user.id for user in listed] == [first.id, *others]
        assert pages_of(lambda cursor: db.users.page(2, cursor), 2) == listed
        after = AfterTime(after_time=first.created_at, after_id=first.id)
        assert db.users.list(after, limit=2) == listed[1:3]


def test_wallets_of_all_agents_are_listed_by_address(db: Database) -> None:
    owners = [new_owner(db, kind) for kind in ("simulation", "live", "live")]
    listed = db.wallets.list_all()
    addresses = [wallet.wallet_address for wallet in listed]
    assert {owner.wallet_address for owner in owners} <= set(addresses)
    assert len(set(addresses)) == len(addresses)
    live = db.wallets.list_all("live")
    assert live == [wallet for wallet in listed if wallet.wallet_type == "live"]
    assert pages_of(lambda cursor: db.wallets.page_all("live", 2, cursor), 2) == live
    assert db.wallets.list_all("live", AfterAddress(after_address=live[0].wallet_address), 1) == live[1:2]
    wrong: Any = "demo"
    with pytest.raises(InvalidInput, match="wallet_type"):
        db.wallets.list_all(wrong)


def test_wallet_is_found_with_its_agent(db: Database, owner: Owner) -> None:
    found = db.wallets.find_with_agent(owner.wallet_address)
    assert found is not None
    wallet, agent = found
    assert db.agents.find_by_id(owner.agent_id) == AgentWithWallets(agent=agent, wallets=(wallet,))
    assert db.wallets.find_with_agent("nowhere") is None
    with pytest.raises(InvalidInput, match="wallet_address"):
        db.wallets.find_with_agent("x" * 45)


# --- Keys ---------------------------------------------------------------------------------------


def test_key_is_found_by_id(db: Database, owner: Owner) -> None:
    made = db.api_keys.create(owner.user_id, "bot", ["signals"])
    assert db.api_keys.find_by_id(made.key.id) == made.key
    revoked = db.api_keys.revoke(owner.user_id, made.key.id)
    assert db.api_keys.find_by_id(made.key.id) == revoked
    assert db.api_keys.find_by_id(uuid4()) is None


def test_key_verifies_with_owners_email(db: Database, owner: Owner, database_url: str) -> None:
    user = db.users.find_by_id(owner.user_id)
    assert user is not None
    made = db.api_keys.create(owner.user_id, "bot", ["signals"])
    secret = made.secret.get_secret_value()
    verified = db.api_keys.verify_with_email(secret)
    assert verified is not None
    assert (verified.id, verified.user_id, verified.email) == (made.key.id, user.id, user.email)
    assert verified.has_scope("signals")
    used = db.api_keys.find_by_id(made.key.id)
    assert used is not None
    assert used.last_used_at is not None
    assert Database(database_url).api_keys.verify_with_email("malformed") is None  # without a query
    assert db.api_keys.verify_with_email("nex_" + "A" * 32) is None
    db.api_keys.revoke(owner.user_id, made.key.id)
    assert db.api_keys.verify_with_email(secret) is None


def test_keys_of_user_are_paged(db: Database, owner: Owner) -> None:
    for name in "abc":
        db.api_keys.create(owner.user_id, name)
    listed = db.api_keys.list_by_user(owner.user_id)
    assert pages_of(lambda cursor: db.api_keys.page_by_user(owner.user_id, 2, cursor), 2) == listed


# --- Signals, transactions, balances --------------------------------------------------------------


def new_signal(db: Database, owner: Owner) -> int:
    order = SignalOrder(
        token_address=TOKEN, signal_type="BUY", signal_strength=3, symbol="S", source="x", user_id=owner.user_id
    )
    return db.signals.create(order).id


def test_update_of_signal_changes_given_fields_only(db: Database, owner: Owner) -> None:
    before = db.signals.find_by_id(new_signal(db, owner))
    assert before is not None
    changed = db.signals.update(before.id, signal_strength=100, symbol=None, activation_reason="because")
    assert changed is not None
    assert changed.updated_at >= before.updated_at
    expected = {"signal_strength": 100, "symbol": None, "activation_reason": "because"}
    assert changed == before.model_copy(update={**expected, "updated_at": changed.updated_at})
    assert db.signals.find_by_id(before.id) == changed
    every = {"token_address": "T", "signal_type": "SELL", "source": None}
    changed = db.signals.update(before.id, **every)  # type: ignore[arg-type]
    assert changed is not None
    assert changed.model_dump(include=set(every)) == every
    assert db.signals.update(2**31 - 1, symbol="nobody's") is None


@pytest.mark.parametrize(
    "values",
    [
        {"signal_strength": 0},
        {"signal_strength": 101},
        {"token_address": None},
        {"signal_type": ""},
        {"symbol": "x" * 51},
        {"source": "x" * 101},
    ],
)
def test_invalid_value_of_signal_is_refused(db: Database, owner: Owner, values: dict[str, Any]) -> None:
    signal_id = new_signal(db, owner)
    before = db.signals.find_by_id(signal_id)
    with pytest.raises(InvalidInput) as refused:
        db.signals.update(signal_id, **values)
    assert [refused.value.field] == list(values)
    assert db.signals.find_by_id(signal_id) == before


def test_transactions_are_found_by_their_ids(db: Database, owner: Owner) -> None:
    made = [db.trades.deposit(owner.deposit(str(amount))).transaction for amount in (1, 2, 3)]
    ids = [transaction.id for transaction in made]
    assert db.transactions.list_by_ids([*ids[::-1], uuid4(), ids[0]]) == sorted(made, key=lambda each: each.id)
    assert db.transactions.list_by_ids([]) == []
    with pytest.raises(InvalidInput, match="transaction_ids"):
        db.transactions.list_by_ids([uuid4()] * 10_001)


def test_balances_of_wallet_are_paged(db: Database, owner: Owner) -> None:
    for token in "edcba":
        db.trades.deposit(owner.deposit("1", token))
    listed = db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    assert len(listed) == 5
    paged = pages_of(lambda cursor: db.balances.page_by_wallet(owner.agent_id, owner.wallet_address, 2, cursor), 2)
    assert paged == listed


# --- Historical swaps ---------------------------------------------------------------------------


def with_swaps(db: Database) -> tuple[Owner, int]:
    """An owner of a closed trade with a signal and a loss, and of one without a signal and with a profit."""
    owner = funded_owner(db)
    signal_id = new_signal(db, owner)
    usd = {"transaction_value_usd": "150"}
    db.trades.buy(owner.buy("1", "10", transaction_value_usd="150", signal_id=signal_id))
    db.trades.sell(owner.sell("10", "0.5", transaction_value_usd="75"))
    db.trades.buy(owner.buy("1", "10", "Other", **usd))
    db.trades.sell(owner.sell("10", "3", "Other", transaction_value_usd="450"))
    return owner, signal_id


def test_swaps_are_listed_paged_and_streamed_with_their_signals(db: Database) -> None:
    owner, signal_id = with_swaps(db)
    swaps = db.historical_swaps.list_by_agent(owner.agent_id)
    listed = db.historical_swaps.list_with_signal(owner.agent_id)
    assert listed == [(swaps[0], None), (swaps[1], db.signals.find_by_id(signal_id))]
    paged = pages_of(lambda cursor: db.historical_swaps.page_with_signal(owner.agent_id, limit=1, cursor=cursor), 1)
    assert paged == listed
    assert [each for each in db.historical_swaps.stream_with_signal(owner.agent_id)] == listed
    chosen = SwapFilter(signal_id=signal_id)
    assert db.historical_swaps.list_with_signal(owner.agent_id, chosen) == listed[1:]
    first = db.historical_swaps.page_by_agent(owner.agent_id, limit=1)
    assert db.historical_swaps.page_with_signal(owner.agent_id, cursor=first.next).items == listed[1:]
    db.signals.delete(signal_id)
    assert [signal for _, signal in db.historical_swaps.list_with_signal(owner.agent_id)] == [None, None]


def test_swaps_are_filtered_by_profit_in_usd(db: Database) -> None:
    owner, _ = with_swaps(db)
    profit, loss = db.historical_swaps.list_by_agent(owner.agent_id)
    assert profit.profit_loss_usd is not None
    assert loss.profit_loss_usd is not None
    assert loss.profit_loss_usd < 0 < profit.profit_loss_usd
    for filter_, expected in (
        ({"min_profit_loss_usd": profit.profit_loss_usd}, [profit]),
        ({"max_profit_loss_usd": loss.profit_loss_usd}, [loss]),
        ({"min_profit_loss_usd": loss.profit_loss_usd, "max_profit_loss_usd": profit.profit_loss_usd}, [profit, loss]),
        ({"min_profit_loss_usd": 0, "max_profit_loss_sol": 0}, []),
    ):
        chosen = SwapFilter(**filter_)
        assert db.historical_swaps.list_by_agent(owner.agent_id, chosen) == expected
        assert [each for each in db.historical_swaps.stream_by_agent(owner.agent_id, chosen)] == expected
        assert db.historical_swaps.count_by_agent(owner.agent_id, chosen) == len(expected)
        with_signal = db.historical_swaps.list_with_signal(owner.agent_id, chosen)
        assert [swap for swap, _ in with_signal] == expected
        streamed = [swap for swap, _ in db.historical_swaps.stream_with_signal(owner.agent_id, chosen)]
        assert streamed == expected


# --- Whole or cut -------------------------------------------------------------------------------


def test_list_without_limit_is_whole_or_raises(db: Database, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound it is whole, above it no part is returned; a limit says that the caller wants no more."""
    monkeypatch.setattr(binding, "MAX_LIST", 2)
    mine = (owner.agent_id, owner.wallet_address)

    def deposit() -> None:
        db.trades.deposit(owner.deposit("1", f"T{uuid4().hex}"))

    def key() -> None:
        db.api_keys.create(owner.user_id, "a key")

    def signal() -> None:
        new_signal(db, owner)

    def agent() -> None:
        db.agents.create(owner.user_id, "one more")

    for add, present, name, listed, limited in (
        (deposit, 0, "transactions.list_by_agent", lambda: db.transactions.list_by_agent(owner.agent_id),
         lambda: db.transactions.list_by_agent(owner.agent_id, limit=1)),
        (deposit, 3, "balances.list_by_wallet", lambda: db.balances.list_by_wallet(*mine),
         lambda: db.balances.list_by_wallet(*mine, 1)),
        (key, 0, "api_keys.list_by_user", lambda: db.api_keys.list_by_user(owner.user_id),
         lambda: db.api_keys.list_by_user(owner.user_id, limit=1)),
        (signal, 0, "signals.list_by_user", lambda: db.signals.list_by_user(owner.user_id),
         lambda: db.signals.list_by_user(owner.user_id, limit=1)),
        (agent, 1, "agents.find_by_user_id", lambda: db.agents.find_by_user_id(owner.user_id),
         lambda: db.agents.find_by_user_id(owner.user_id, limit=1)),
    ):  # fmt: skip
        for number in range(present, 3):
            if number < 3 and number > 0:
                assert len(listed()) == number
            add()
        with pytest.raises(ListTooLong) as refused:
            listed()
        assert (refused.value.query, refused.value.bound) == (name, 2)
        assert "more than 2 rows" in str(refused.value)
        assert len(limited()) == 1


def test_pages_go_on_beyond_the_bound_of_lists(db: Database, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        db.agents.create(owner.user_id, f"agent {number}")
    monkeypatch.setattr(binding, "MAX_LIST", 2)
    paged = pages_of(lambda cursor: db.agents.page_by_user_id(owner.user_id, 4, cursor), 4)
    assert len(paged) == 6
    assert len([each for each in db.agents.stream_all()]) >= 6
    with pytest.raises(ListTooLong, match=r"agents\.list_all"):
        db.agents.list_all()
