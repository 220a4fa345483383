"""Administration: agents of all users with their wallets, users, wallets, keys, signals, swaps with their signals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import pytest

from nexgent_db import AsyncDatabase
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
from tests.integration.aio.factories import TOKEN, Owner, funded_owner, new_owner

Item = TypeVar("Item")


async def pages_of(page: Callable[[str | None], Awaitable[Page[Item]]], size: int) -> list[Item]:
    """The items of all pages; every page but the last is full."""
    found: list[Item] = []
    cursor = None
    while True:
        one = await page(cursor)
        found += one.items
        if one.next is None:
            assert len(one.items) <= size
            return found
        assert len(one.items) == size
        cursor = one.next


# --- Agents -------------------------------------------------------------------------------------


async def new_agents(db: AsyncDatabase) -> dict[str, UUID]:
    """Agents of two users, by what they are."""
    simulating, other = await new_owner(db), await new_owner(db, "live")
    both = await db.agents.create(simulating.user_id, "both", "live")
    for kind in ("simulation", "live"):
        await db.wallets.create(f"W{uuid4().hex}", both.id, kind)
    bare = await db.agents.create(other.user_id, "bare", "live")
    await db.agents.set_automated_trading(both.id, "live", False)
    await db.agents.set_automated_trading(both.id, "simulation", True)
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
async def test_agents_of_all_users_are_filtered_listed_paged_and_streamed(
    db: AsyncDatabase, filter_: dict[str, Any], names: set[str]
) -> None:
    agents = await new_agents(db)
    chosen = AgentFilter(**filter_)
    listed = await db.agents.list_all(chosen)
    assert {name for name, agent_id in agents.items() if agent_id in {each.agent.id for each in listed}} == names
    assert [each.agent.id for each in listed] == sorted(each.agent.id for each in listed)
    for each in listed:
        assert await db.agents.find_by_id(each.agent.id) == each
    for size in (1, 3, 9_999):
        paged = await pages_of(lambda cursor, size=size: db.agents.page_all(chosen, size, cursor), size)  # type: ignore[misc]
        assert paged == listed
    assert [each async for each in db.agents.stream_all(chosen)] == listed
    assert await db.agents.list_all(chosen, AfterUuid(after_id=listed[0].agent.id)) == listed[1:]
    assert await db.agents.list_all(chosen, limit=1) == listed[:1]


async def test_agents_of_user_have_their_wallets_newest_first(db: AsyncDatabase, owner: Owner) -> None:
    live = await db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    bare = await db.agents.create(owner.user_id, "bare")
    found = await db.agents.find_by_user_id(owner.user_id)
    assert [each.agent.id for each in found] == [bare.id, owner.agent_id]
    assert found[0] == AgentWithWallets(agent=bare, wallets=())
    assert found[1].wallets[1] == live
    assert found[1] == await db.agents.find_by_id(owner.agent_id)
    assert await pages_of(lambda cursor: db.agents.page_by_user_id(owner.user_id, 1, cursor), 1) == found
    assert await db.agents.find_by_user_id(uuid4()) == []


async def test_limit_counts_agents_not_wallets(db: AsyncDatabase, owner: Owner) -> None:
    await db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    (agent,) = await db.agents.find_by_user_id(owner.user_id, limit=1)
    assert len(agent.wallets) == 2
    page = await db.agents.page_by_user_id(owner.user_id, limit=1)
    assert (len(page.items), page.next) == (1, None)


async def test_stream_of_agents_that_is_left_releases_its_connection(db: AsyncDatabase) -> None:
    await new_agents(db)
    for _ in range(db.settings.pool_max_size + 1):
        stream = db.agents.stream_all()
        async for _agent in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
    assert await db.agents.list_all(limit=1)


async def test_stream_of_agents_works_in_transaction(db: AsyncDatabase) -> None:
    await new_agents(db)
    async with db.transaction() as tx:
        inside = [each async for each in tx.agents.stream_all(AgentFilter(has_wallet=True))]
        assert inside == await tx.agents.list_all(AgentFilter(has_wallet=True))


@pytest.mark.parametrize("limit", [0, -1, 10_001, True, "1"])
async def test_limit_out_of_range_is_refused_with_its_bound(db: AsyncDatabase, owner: Owner, limit: Any) -> None:
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
            await call()
        assert refused.value.field == "limit"


async def test_cursor_of_other_list_is_refused(db: AsyncDatabase, owner: Owner) -> None:
    await new_agents(db)
    cursor = (await db.agents.page_all(limit=1)).next
    assert cursor is not None
    for call in (
        lambda: db.wallets.page_all(cursor=cursor),
        lambda: db.users.page(cursor=cursor),
        lambda: db.agents.page_by_user_id(owner.user_id, cursor=cursor),
        lambda: db.balances.page_by_wallet(owner.agent_id, owner.wallet_address, cursor=cursor),
    ):
        with pytest.raises(InvalidInput, match="a cursor of agents, not of"):
            await call()


# --- Users, wallets -----------------------------------------------------------------------------


async def test_first_user_is_the_earliest(fresh_database_url: str) -> None:
    async with AsyncDatabase(fresh_database_url) as db:
        assert await db.users.find_first() is None
        assert await db.users.list() == []
        users = [await db.users.create(f"{number}@example.org") for number in range(5)]
        with psycopg.connect(fresh_database_url) as connection:
            connection.execute("UPDATE users SET created_at = '2020-01-01Z' WHERE id = %s", [users[3].id])
            connection.execute("UPDATE users SET created_at = '2021-01-01Z' WHERE id <> %s", [users[3].id])
        first = await db.users.find_first()
        assert first is not None
        assert first.id == users[3].id
        listed = await db.users.list()
        others = sorted(user.id for user in users if user.id != first.id)
        assert [user.id for user in listed] == [first.id, *others]
        assert await pages_of(lambda cursor: db.users.page(2, cursor), 2) == listed
        after = AfterTime(after_time=first.created_at, after_id=first.id)
        assert await db.users.list(after, limit=2) == listed[1:3]


async def test_wallets_of_all_agents_are_listed_by_address(db: AsyncDatabase) -> None:
    owners = [await new_owner(db, kind) for kind in ("simulation", "live", "live")]
    listed = await db.wallets.list_all()
    addresses = [wallet.wallet_address for wallet in listed]
    assert {owner.wallet_address for owner in owners} <= set(addresses)
    assert len(set(addresses)) == len(addresses)
    live = await db.wallets.list_all("live")
    assert live == [wallet for wallet in listed if wallet.wallet_type == "live"]
    assert await pages_of(lambda cursor: db.wallets.page_all("live", 2, cursor), 2) == live
    assert await db.wallets.list_all("live", AfterAddress(after_address=live[0].wallet_address), 1) == live[1:2]
    wrong: Any = "demo"
    with pytest.raises(InvalidInput, match="wallet_type"):
        await db.wallets.list_all(wrong)


async def test_wallet_is_found_with_its_agent(db: AsyncDatabase, owner: Owner) -> None:
    found = await db.wallets.find_with_agent(owner.wallet_address)
    assert found is not None
    wallet, agent = found
    assert await db.agents.find_by_id(owner.agent_id) == AgentWithWallets(agent=agent, wallets=(wallet,))
    assert await db.wallets.find_with_agent("nowhere") is None
    with pytest.raises(InvalidInput, match="wallet_address"):
        await db.wallets.find_with_agent("x" * 45)


# --- Keys ---------------------------------------------------------------------------------------


async def test_key_is_found_by_id(db: AsyncDatabase, owner: Owner) -> None:
    made = await db.api_keys.create(owner.user_id, "bot", ["signals"])
    assert await db.api_keys.find_by_id(made.key.id) == made.key
    revoked = await db.api_keys.revoke(owner.user_id, made.key.id)
    assert await db.api_keys.find_by_id(made.key.id) == revoked
    assert await db.api_keys.find_by_id(uuid4()) is None


async def test_key_verifies_with_owners_email(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    user = await db.users.find_by_id(owner.user_id)
    assert user is not None
    made = await db.api_keys.create(owner.user_id, "bot", ["signals"])
    secret = made.secret.get_secret_value()
    verified = await db.api_keys.verify_with_email(secret)
    assert verified is not None
    assert (verified.id, verified.user_id, verified.email) == (made.key.id, user.id, user.email)
    assert verified.has_scope("signals")
    used = await db.api_keys.find_by_id(made.key.id)
    assert used is not None
    assert used.last_used_at is not None
    assert await AsyncDatabase(database_url).api_keys.verify_with_email("malformed") is None  # without a query
    assert await db.api_keys.verify_with_email("nex_" + "A" * 32) is None
    await db.api_keys.revoke(owner.user_id, made.key.id)
    assert await db.api_keys.verify_with_email(secret) is None


async def test_keys_of_user_are_paged(db: AsyncDatabase, owner: Owner) -> None:
    for name in "abc":
        await db.api_keys.create(owner.user_id, name)
    listed = await db.api_keys.list_by_user(owner.user_id)
    assert await pages_of(lambda cursor: db.api_keys.page_by_user(owner.user_id, 2, cursor), 2) == listed


# --- Signals, transactions, balances --------------------------------------------------------------


async def new_signal(db: AsyncDatabase, owner: Owner) -> int:
    order = SignalOrder(
        token_address=TOKEN, signal_type="BUY", signal_strength=3, symbol="S", source="x", user_id=owner.user_id
    )
    return (await db.signals.create(order)).id


async def test_update_of_signal_changes_given_fields_only(db: AsyncDatabase, owner: Owner) -> None:
    before = await db.signals.find_by_id(await new_signal(db, owner))
    assert before is not None
    changed = await db.signals.update(before.id, signal_strength=100, symbol=None, activation_reason="because")
    assert changed is not None
    assert changed.updated_at >= before.updated_at
    expected = {"signal_strength": 100, "symbol": None, "activation_reason": "because"}
    assert changed == before.model_copy(update={**expected, "updated_at": changed.updated_at})
    assert await db.signals.find_by_id(before.id) == changed
    every = {"token_address": "T", "signal_type": "SELL", "source": None}
    changed = await db.signals.update(before.id, **every)  # type: ignore[arg-type]
    assert changed is not None
    assert changed.model_dump(include=set(every)) == every
    assert await db.signals.update(2**31 - 1, symbol="nobody's") is None


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
async def test_invalid_value_of_signal_is_refused(db: AsyncDatabase, owner: Owner, values: dict[str, Any]) -> None:
    signal_id = await new_signal(db, owner)
    before = await db.signals.find_by_id(signal_id)
    with pytest.raises(InvalidInput) as refused:
        await db.signals.update(signal_id, **values)
    assert [refused.value.field] == list(values)
    assert await db.signals.find_by_id(signal_id) == before


async def test_transactions_are_found_by_their_ids(db: AsyncDatabase, owner: Owner) -> None:
    made = [(await db.trades.deposit(owner.deposit(str(amount)))).transaction for amount in (1, 2, 3)]
    ids = [transaction.id for transaction in made]
    assert await db.transactions.list_by_ids([*ids[::-1], uuid4(), ids[0]]) == sorted(made, key=lambda each: each.id)
    assert await db.transactions.list_by_ids([]) == []
    with pytest.raises(InvalidInput, match="transaction_ids"):
        await db.transactions.list_by_ids([uuid4()] * 10_001)


async def test_balances_of_wallet_are_paged(db: AsyncDatabase, owner: Owner) -> None:
    for token in "edcba":
        await db.trades.deposit(owner.deposit("1", token))
    listed = await db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    assert len(listed) == 5
    paged = await pages_of(
        lambda cursor: db.balances.page_by_wallet(owner.agent_id, owner.wallet_address, 2, cursor), 2
    )
    assert paged == listed


# --- Historical swaps ---------------------------------------------------------------------------


async def with_swaps(db: AsyncDatabase) -> tuple[Owner, int]:
    """An owner of a closed trade with a signal and a loss, and of one without a signal and with a profit."""
    owner = await funded_owner(db)
    signal_id = await new_signal(db, owner)
    usd = {"transaction_value_usd": "150"}
    await db.trades.buy(owner.buy("1", "10", transaction_value_usd="150", signal_id=signal_id))
    await db.trades.sell(owner.sell("10", "0.5", transaction_value_usd="75"))
    await db.trades.buy(owner.buy("1", "10", "Other", **usd))
    await db.trades.sell(owner.sell("10", "3", "Other", transaction_value_usd="450"))
    return owner, signal_id


async def test_swaps_are_listed_paged_and_streamed_with_their_signals(db: AsyncDatabase) -> None:
    owner, signal_id = await with_swaps(db)
    swaps = await db.historical_swaps.list_by_agent(owner.agent_id)
    listed = await db.historical_swaps.list_with_signal(owner.agent_id)
    assert listed == [(swaps[0], None), (swaps[1], await db.signals.find_by_id(signal_id))]
    paged = await pages_of(
        lambda cursor: db.historical_swaps.page_with_signal(owner.agent_id, limit=1, cursor=cursor), 1
    )
    assert paged == listed
    assert [each async for each in db.historical_swaps.stream_with_signal(owner.agent_id)] == listed
    chosen = SwapFilter(signal_id=signal_id)
    assert await db.historical_swaps.list_with_signal(owner.agent_id, chosen) == listed[1:]
    first = await db.historical_swaps.page_by_agent(owner.agent_id, limit=1)
    assert (await db.historical_swaps.page_with_signal(owner.agent_id, cursor=first.next)).items == listed[1:]
    await db.signals.delete(signal_id)
    assert [signal for _, signal in await db.historical_swaps.list_with_signal(owner.agent_id)] == [None, None]


async def test_swaps_are_filtered_by_profit_in_usd(db: AsyncDatabase) -> None:
    owner, _ = await with_swaps(db)
    profit, loss = await db.historical_swaps.list_by_agent(owner.agent_id)
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
        assert await db.historical_swaps.list_by_agent(owner.agent_id, chosen) == expected
        assert [each async for each in db.historical_swaps.stream_by_agent(owner.agent_id, chosen)] == expected
        assert await db.historical_swaps.count_by_agent(owner.agent_id, chosen) == len(expected)
        with_signal = await db.historical_swaps.list_with_signal(owner.agent_id, chosen)
        assert [swap for swap, _ in with_signal] == expected
        streamed = [swap async for swap, _ in db.historical_swaps.stream_with_signal(owner.agent_id, chosen)]
        assert streamed == expected


# --- Whole or cut -------------------------------------------------------------------------------


async def test_list_without_limit_is_whole_or_raises(
    db: AsyncDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the bound it is whole, above it no part is returned; a limit says that the caller wants no more."""
    monkeypatch.setattr(binding, "MAX_LIST", 2)
    mine = (owner.agent_id, owner.wallet_address)

    async def deposit() -> None:
        await db.trades.deposit(owner.deposit("1", f"T{uuid4().hex}"))

    async def key() -> None:
        await db.api_keys.create(owner.user_id, "a key")

    async def signal() -> None:
        await new_signal(db, owner)

    async def agent() -> None:
        await db.agents.create(owner.user_id, "one more")

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
                assert len(await listed()) == number
            await add()
        with pytest.raises(ListTooLong) as refused:
            await listed()
        assert (refused.value.query, refused.value.bound) == (name, 2)
        assert "more than 2 rows" in str(refused.value)
        assert len(await limited()) == 1


async def test_pages_go_on_beyond_the_bound_of_lists(
    db: AsyncDatabase, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await db.agents.create(owner.user_id, f"agent {number}")
    monkeypatch.setattr(binding, "MAX_LIST", 2)
    paged = await pages_of(lambda cursor: db.agents.page_by_user_id(owner.user_id, 4, cursor), 4)
    assert len(paged) == 6
    assert len([each async for each in db.agents.stream_all()]) >= 6
    with pytest.raises(ListTooLong, match=r"agents\.list_all"):
        await db.agents.list_all()
