# Generated from tests/integration/aio/test_positions.py by `make sync`: do not edit.
"""Lists of open positions: of all agents, of a token, of a user, of an agent; with their purchases and take-profits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import InvalidInput
from nexgent_db.models import (
    AfterToken,
    AfterUuid,
    AgentPosition,
    BeforeUuid,
    OpenToken,
    Page,
    PositionFilter,
    TakeProfitSummary,
)
from tests.integration.sync.factories import Owner, funded_owner


@pytest.fixture
def db(fresh_database_url: str) -> Iterator[Database]:
    """A database of the test's own: the lists are of all agents."""
    with Database(fresh_database_url) as database:
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    return funded_owner(db)


@pytest.fixture
def stranger(db: Database) -> Owner:
    """An agent of another user."""
    return funded_owner(db)


def bought(db: Database, owner: Owner, *tokens: str) -> list[AgentPosition]:
    positions = [db.trades.buy(owner.buy("1", "1000", token)).position for token in tokens]
    return [position for position in positions if position is not None]


def second_wallet(db: Database, owner: Owner) -> Owner:
    """The owner's agent with its live wallet, which has 100 SOL."""
    wallet = db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    live = replace(owner, wallet_address=wallet.wallet_address)
    db.trades.deposit(live.deposit("100"))
    return live


def second_agent(db: Database, owner: Owner) -> Owner:
    """Another agent of the same user, with 100 SOL."""
    agent = db.agents.create(owner.user_id, "second")
    wallet = db.wallets.create(f"W{uuid4().hex}", agent.id, "simulation")
    second = Owner(owner.user_id, agent.id, wallet.wallet_address)
    db.trades.deposit(second.deposit("100"))
    return second


def all_pages(page: Callable[[str | None], Any], between: Callable[[int], Any] | None = None) -> list[Any]:
    """The items of all pages; ``between`` is awaited after each page with its number, from 1."""
    items: list[Any] = []
    cursor: str | None = None
    number = 0
    while True:
        found: Page[Any] = page(cursor)
        items += found.items
        number += 1
        if between is not None:
            between(number)
        if (cursor := found.next) is None:
            return items


def ids(positions: list[AgentPosition]) -> list[UUID]:
    return [position.id for position in positions]


# --- Of all agents ------------------------------------------------------------------------------


def test_open_positions_of_all_users_are_listed_by_id(db: Database, owner: Owner, stranger: Owner) -> None:
    assert db.positions.list_open() == []
    positions = [*bought(db, owner, "A", "B"), *bought(db, stranger, "A", "C")]
    db.trades.sell(stranger.sell("1000", "1", "C"))
    still_open = sorted(positions[:3], key=lambda position: position.id)
    assert db.positions.list_open() == still_open
    assert [position for position in db.positions.stream_open()] == still_open
    assert db.positions.list_open(limit=2) == still_open[:2]
    assert db.positions.list_open(after=AfterUuid(after_id=still_open[0].id)) == still_open[1:]


def test_position_filter_applies_given_fields(db: Database, owner: Owner, stranger: Owner) -> None:
    a, b = bought(db, owner, "A", "B")
    foreign_a, foreign_c = bought(db, stranger, "A", "C")
    agents = [owner.agent_id, stranger.agent_id]
    for filter_, expected in (
        ({"agent_ids": [owner.agent_id, uuid4()]}, {a.id, b.id}),
        ({"agent_ids": agents}, {a.id, b.id, foreign_a.id, foreign_c.id}),
        ({"token_addresses": ["A"]}, {a.id, foreign_a.id}),
        ({"token_addresses": ["B", "C", "D"]}, {b.id, foreign_c.id}),
        ({"agent_ids": [stranger.agent_id], "token_addresses": ["A", "B"]}, {foreign_a.id}),
        ({"token_addresses": ["a"]}, set()),
    ):
        chosen = PositionFilter(**filter_)
        listed = db.positions.list_open(chosen)
        assert set(ids(listed)) == expected
        assert [position for position in db.positions.stream_open(chosen)] == listed
        assert all_pages(partial(db.positions.page_open, chosen, 1)) == listed


def test_pages_of_open_positions_are_complete_while_positions_open(db: Database, owner: Owner, stranger: Owner) -> None:
    before = [*bought(db, owner, *"ABCD"), *bought(db, stranger, *"ABC")]

    def open_another(number: int) -> None:
        if number <= 3:
            bought(db, stranger, f"new {number}")

    found = all_pages(lambda cursor: db.positions.page_open(limit=2, cursor=cursor), open_another)
    assert ids(found) == sorted(ids(found))
    assert len(set(ids(found))) == len(found)
    assert set(ids(before)) <= set(ids(found))


def test_tokens_that_any_agent_holds_are_listed_once(db: Database, owner: Owner, stranger: Owner) -> None:
    assert db.positions.list_open_tokens() == []
    bought(db, owner, "B", "A", "a")
    bought(db, stranger, "A", "C")
    db.trades.sell(stranger.sell("1000", "1", "C"))
    expected = {OpenToken(token_address=token, positions=count) for token, count in (("A", 2), ("B", 1), ("a", 1))}
    listed = db.positions.list_open_tokens()
    assert len(listed) == len(expected)
    assert set(listed) == expected
    assert [token for token in db.positions.stream_open_tokens()] == listed
    assert db.positions.list_open_tokens(limit=1) == listed[:1]
    assert db.positions.list_open_tokens(AfterToken(after_token=listed[0].token_address)) == listed[1:]


def test_pages_of_open_tokens_are_complete_while_positions_open(db: Database, owner: Owner) -> None:
    tokens = [f"T{number}5" for number in range(7)]
    bought(db, owner, *tokens)

    def open_others(number: int) -> None:
        if number <= 3:  # one before the cursor, one after it
            bought(db, owner, f"T0{number}", f"T6{number}")

    found = all_pages(lambda cursor: db.positions.page_open_tokens(2, cursor), open_others)
    addresses = [token.token_address for token in found]
    assert addresses == sorted(set(addresses))
    assert set(tokens) | {"T61", "T62", "T63"} == set(addresses)


def test_positions_in_token_are_listed_in_exact_case_newest_first(db: Database, owner: Owner, stranger: Owner) -> None:
    (first,) = bought(db, owner, "Token")
    bought(db, owner, "token", "Other")
    (second,) = bought(db, stranger, "Token")
    assert db.positions.list_by_token("Token") == [second, first]
    assert db.positions.list_by_token("Token", limit=1) == [second]
    key = BeforeUuid(before_time=second.created_at, before_id=second.id)
    assert db.positions.list_by_token("Token", key) == [first]
    assert db.positions.list_by_token("TOKEN") == []


def test_pages_of_token_are_complete_while_positions_open(db: Database, owner: Owner) -> None:
    before = []
    for _ in range(5):
        before += bought(db, funded_owner(db), "T")

    def open_another(number: int) -> None:
        bought(db, funded_owner(db), "T")

    found = all_pages(lambda cursor: db.positions.page_by_token("T", 2, cursor), open_another)
    assert found == before[::-1]


# --- Of one user --------------------------------------------------------------------------------


def test_positions_of_all_agents_of_user_are_listed_newest_first(db: Database, owner: Owner, stranger: Owner) -> None:
    second = second_agent(db, owner)
    live = second_wallet(db, owner)
    bought(db, stranger, "A")
    positions = [
        *bought(db, owner, "A"),
        *bought(db, second, "A"),
        *bought(db, live, "B"),
    ]
    assert db.positions.list_by_user(owner.user_id) == positions[::-1]
    assert db.positions.list_by_user(owner.user_id, limit=1) == positions[2:]
    key = BeforeUuid(before_time=positions[2].created_at, before_id=positions[2].id)
    assert db.positions.list_by_user(owner.user_id, key) == positions[1::-1]
    assert db.positions.list_by_user(uuid4()) == []


def test_pages_of_user_are_complete_while_positions_open(db: Database, owner: Owner, stranger: Owner) -> None:
    second = second_agent(db, owner)
    before = [*bought(db, owner, *"ABC"), *bought(db, second, *"ABCD")]

    def open_another(number: int) -> None:
        bought(db, second, f"new {number}")
        bought(db, stranger, f"new {number}")

    found = all_pages(lambda cursor: db.positions.page_by_user(owner.user_id, 2, cursor), open_another)
    assert found == before[::-1]


# --- Take-profits and moon bags -----------------------------------------------------------------


def test_positions_with_take_profits_are_listed(db: Database, owner: Owner, stranger: Owner) -> None:
    live = second_wallet(db, owner)
    bought(db, owner, "untouched", "sold", "no level", "closed")
    bought(db, live, "live")
    bought(db, stranger, "sold")
    for order in (
        owner.take_profit("100", "1", "sold"),
        owner.take_profit("100", "1", "no level", levels_hit=0),
        owner.take_profit("1000", "1", "closed"),
        live.take_profit("100", "1", "live"),
        stranger.take_profit("100", "1", "sold"),
    ):
        db.trades.take_profit(order)
    listed = db.positions.list_with_take_profit_activity(owner.agent_id)
    assert [position.token_address for position in listed] == ["live", "no level", "sold"]
    assert db.positions.list_with_take_profit_activity(owner.agent_id, live.wallet_address) == listed[:1]
    assert db.positions.list_with_take_profit_activity(owner.agent_id, limit=2) == listed[:2]
    key = BeforeUuid(before_time=listed[1].created_at, before_id=listed[1].id)
    assert db.positions.list_with_take_profit_activity(owner.agent_id, before=key) == listed[2:]
    assert db.positions.list_with_take_profit_activity(uuid4()) == []


def test_adopted_position_with_level_but_no_transaction_has_activity(db: Database, owner: Owner) -> None:
    (position,) = bought(db, owner, "adopted")
    assert db.positions.list_with_take_profit_activity(owner.agent_id) == []
    with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
        psql.execute("UPDATE agent_positions SET take_profit_levels_hit = 2 WHERE id = %s", [position.id])
    assert ids(db.positions.list_with_take_profit_activity(owner.agent_id)) == [position.id]
    summary = db.positions.summarise_take_profits(owner.agent_id)
    assert (summary.with_take_profits, summary.levels_hit) == (1, 2)


def test_moon_bags_are_listed(db: Database, owner: Owner, stranger: Owner) -> None:
    live = second_wallet(db, owner)
    bought(db, owner, "A", "B", "C")
    bought(db, live, "A")
    bought(db, stranger, "A")
    db.trades.take_profit(owner.take_profit("100", "1", "A"))
    for holder, token in ((owner, "B"), (owner, "C"), (live, "A"), (stranger, "A")):
        db.trades.take_profit(holder.take_profit("100", "1", token, moon_bag_amount="50"))
    listed = db.positions.list_moon_bags(owner.agent_id)
    assert [(position.token_address, position.moon_bag_amount) for position in listed] == [
        ("A", 50),
        ("C", 50),
        ("B", 50),
    ]
    assert db.positions.list_moon_bags(owner.agent_id, owner.wallet_address) == listed[1:]
    assert db.positions.list_moon_bags(owner.agent_id, limit=1) == listed[:1]
    key = BeforeUuid(before_time=listed[0].created_at, before_id=listed[0].id)
    assert db.positions.list_moon_bags(owner.agent_id, before=key) == listed[1:]
    assert db.positions.list_moon_bags(uuid4()) == []


def test_take_profits_are_summarised_per_agent_or_wallet(db: Database, owner: Owner, stranger: Owner) -> None:
    live = second_wallet(db, owner)
    bought(db, owner, "A", "B", "closed")
    bought(db, live, "A")
    bought(db, stranger, "A")
    db.trades.take_profit(owner.take_profit("100", "0.5", "A", levels_hit=2))
    last = db.trades.take_profit(owner.take_profit("100", "0.3", "A", moon_bag_amount="50"))
    db.trades.take_profit(live.take_profit("500", "0.4", "A"))
    db.trades.take_profit(owner.take_profit("1000", "9", "closed"))
    db.trades.take_profit(stranger.take_profit("100", "5", "A"))
    both = db.positions.summarise_take_profits(owner.agent_id)
    one = db.positions.summarise_take_profits(owner.agent_id, owner.wallet_address)
    positions = db.positions.list_by_agent(owner.agent_id)
    assert (both.open_positions, both.with_take_profits, both.levels_hit, both.moon_bags) == (3, 2, 4, 1)
    assert both.realized_profit_sol == sum(position.realized_profit_sol for position in positions)
    assert (str(both.realized_profit_sol), str(both.proceeds_sol)) == ("0.500000000000000000", "1.200000000000000000")
    assert (one.open_positions, one.with_take_profits, one.levels_hit, one.moon_bags) == (2, 1, 3, 1)
    assert (str(one.realized_profit_sol), str(one.proceeds_sol)) == ("0.600000000000000000", "0.800000000000000000")
    assert one.last_take_profit_time == last.transaction.transaction_time
    nothing = TakeProfitSummary(
        open_positions=0,
        with_take_profits=0,
        levels_hit=0,
        moon_bags=0,
        realized_profit_sol=Decimal("0"),
        proceeds_sol=Decimal("0"),
        last_take_profit_time=None,
    )
    assert db.positions.summarise_take_profits(uuid4()) == nothing


# --- With their purchases -----------------------------------------------------------------------


def test_positions_are_listed_beside_their_purchases(db: Database, owner: Owner, stranger: Owner) -> None:
    live = second_wallet(db, owner)
    bought(db, stranger, "A")
    bought(db, owner, "A", "B")
    bought(db, live, "A")
    db.trades.dca_buy(owner.dca_buy("1", "500", "A"))
    db.trades.take_profit(owner.take_profit("100", "1", "B"))
    pairs = db.positions.list_with_purchase(owner.agent_id)
    assert [position for position, _ in pairs] == db.positions.list_by_agent(owner.agent_id)
    for position, purchase in pairs:
        assert purchase == db.transactions.find_by_id(position.purchase_transaction_id)
        assert (purchase.output_mint, purchase.is_dca) == (position.token_address, False)
    assert [pair for pair in db.positions.stream_with_purchase(owner.agent_id)] == pairs
    assert db.positions.list_with_purchase(owner.agent_id, live.wallet_address) == pairs[:1]
    mine = db.positions.stream_with_purchase(owner.agent_id, owner.wallet_address)
    assert [pair for pair in mine] == pairs[1:]
    assert db.positions.list_with_purchase(owner.agent_id, limit=2) == pairs[:2]
    key = BeforeUuid(before_time=pairs[1][0].created_at, before_id=pairs[1][0].id)
    assert db.positions.list_with_purchase(owner.agent_id, before=key) == pairs[2:]
    assert db.positions.list_with_purchase(uuid4()) == []
    assert all_pages(partial(db.positions.page_with_purchase, owner.agent_id, None, 1)) == pairs
    assert all_pages(partial(db.positions.page_with_purchase, owner.agent_id, owner.wallet_address, 1)) == pairs[1:]


def test_stream_with_purchase_in_transaction_sees_its_own_rows(db: Database, owner: Owner) -> None:
    with db.transaction() as tx:
        tx.trades.buy(owner.buy("1", "1000", "A"))
        inside = [position for position, _ in tx.positions.stream_with_purchase(owner.agent_id)]
        assert ids(inside) == [position.id for position in tx.positions.stream_open()]
        assert [token.token_address for token in tx.positions.stream_open_tokens()] == ["A"]


# --- Refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, -1, 10**9])
def test_limit_out_of_range_is_refused(db: Database, limit: int) -> None:
    some = uuid4()
    for call in (
        lambda: db.positions.list_open(limit=limit),
        lambda: db.positions.page_open(limit=limit),
        lambda: db.positions.list_open_tokens(limit=limit),
        lambda: db.positions.page_open_tokens(limit=limit),
        lambda: db.positions.list_by_token("T", limit=limit),
        lambda: db.positions.page_by_token("T", limit=limit),
        lambda: db.positions.list_by_user(some, limit=limit),
        lambda: db.positions.page_by_user(some, limit=limit),
        lambda: db.positions.list_with_take_profit_activity(some, limit=limit),
        lambda: db.positions.list_moon_bags(some, limit=limit),
        lambda: db.positions.list_with_purchase(some, limit=limit),
        lambda: db.positions.page_with_purchase(some, limit=limit),
    ):
        with pytest.raises(InvalidInput) as refused:
            call()
        assert refused.value.field == "limit"


@pytest.mark.parametrize("cursor", ["", "page two", "WyJvcGVuX3Bvc2l0aW9ucyJd", "bnVsbA==", "W10=", "e30="])
def test_malformed_cursor_is_refused(db: Database, cursor: str) -> None:
    for call in (
        lambda: db.positions.page_open(cursor=cursor),
        lambda: db.positions.page_open_tokens(cursor=cursor),
        lambda: db.positions.page_by_token("T", cursor=cursor),
        lambda: db.positions.page_by_user(uuid4(), cursor=cursor),
        lambda: db.positions.page_with_purchase(uuid4(), cursor=cursor),
    ):
        with pytest.raises(InvalidInput) as refused:
            call()
        assert refused.value.field == "cursor"


def test_cursor_of_other_list_is_refused(db: Database, owner: Owner) -> None:
    bought(db, owner, "A", "B")
    cursors = {
        "open_positions": db.positions.page_open(limit=1).next,
        "open_tokens": db.positions.page_open_tokens(1).next,
        "positions_of_user": db.positions.page_by_user(owner.user_id, 1).next,
        "transactions": db.transactions.page_by_agent(owner.agent_id, limit=1).next,
    }
    calls: dict[str, Callable[[str | None], Any]] = {
        "open_positions": lambda cursor: db.positions.page_open(cursor=cursor),
        "open_tokens": lambda cursor: db.positions.page_open_tokens(cursor=cursor),
        "positions_of_user": lambda cursor: db.positions.page_by_user(owner.user_id, cursor=cursor),
        "positions_of_token": lambda cursor: db.positions.page_by_token("A", cursor=cursor),
        "positions_with_purchase": lambda cursor: db.positions.page_with_purchase(owner.agent_id, cursor=cursor),
    }
    for name, call in calls.items():
        for of, cursor in cursors.items():
            assert cursor is not None
            if of != name:
                with pytest.raises(InvalidInput, match=f"a cursor of '?{of}'?, not of {name}"):
                    call(cursor)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"agent_ids": []}, "agent_ids"),
        ({"agent_ids": [uuid4()] * 1001}, "agent_ids"),
        ({"agent_ids": ["mine"]}, "agent_ids.0"),
        ({"token_addresses": []}, "token_addresses"),
        ({"token_addresses": ["T"] * 10_001}, "token_addresses"),
        ({"token_addresses": [""]}, "token_addresses.0"),
        ({"wallet_address": "W"}, "wallet_address"),
    ],
)
def test_unknown_filter_or_value_is_refused(content: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        PositionFilter(**content)
    assert refused.value.field == field


def test_text_that_is_no_token_is_refused(db: Database) -> None:
    wrong: Any = None
    for token in ("", "T" * 256, wrong, "half a \ud83d"):
        for call in (db.positions.list_by_token, db.positions.page_by_token):
            with pytest.raises(InvalidInput) as refused:
                call(token)
            assert refused.value.field == "token_address"
