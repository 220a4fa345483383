"""Round trips per operation, which determine its latency. Timings are in tests/benchmarks."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest

from nexgent_db import Database
from nexgent_db.errors import Oversell
from nexgent_db.models import SOL_MINT, PriceUpdate, RecordedPrices
from nexgent_db.settings import Settings
from tests.integration.sync.factories import Owner, funded_owner, new_owner
from tests.support.oracles.round_trips import round_trips
from tests.support.servers.cells import CelledDatabase
from tests.support.servers.roles import RoledDatabase

_UNTIL_PREPARED = 5


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    """A database of a single connection, which can be traced."""
    with Database(replace(Settings.from_url(database_url), pool_max_size=1)) as database:
        yield database


@pytest.fixture
def owner(db: Database) -> Owner:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("1000"))
    return owner


def _buy(db: Database, owner: Owner) -> object:
    return db.trades.buy(owner.buy("1", "10", f"T{uuid4().hex}"))


def _count(db: Database, operation: Callable[[], object]) -> int:
    for _ in range(_UNTIL_PREPARED):
        operation()
    with round_trips(db) as counted:
        operation()
    return counted.count


def test_buy_alone_is_one_round_trip(db: Database, owner: Owner) -> None:
    assert _count(db, lambda: _buy(db, owner)) == 1


def test_every_other_trade_alone_is_one_round_trip(db: Database, owner: Owner) -> None:
    db.trades.buy(owner.buy("1", "1000"))
    assert _count(db, lambda: db.trades.deposit(owner.deposit("1"))) == 1
    assert _count(db, lambda: db.trades.withdraw(owner.withdraw("1"))) == 1
    assert _count(db, lambda: db.trades.dca_buy(owner.dca_buy("1", "10"))) == 1
    assert _count(db, lambda: db.trades.take_profit(owner.take_profit("1", "0.1"))) == 1


def test_repeated_trade_is_one_round_trip(db: Database, owner: Owner) -> None:
    order = owner.buy("1", "10")
    assert _count(db, lambda: db.trades.buy(order)) == 1


def test_refused_trade_is_one_round_trip(db: Database, owner: Owner) -> None:
    db.trades.buy(owner.buy("1", "10"))

    def oversell() -> None:
        with pytest.raises(Oversell):
            db.trades.sell(owner.sell("11", "1"))

    assert _count(db, oversell) == 1


def test_find_is_one_round_trip(db: Database, owner: Owner) -> None:
    position = db.trades.buy(owner.buy("1", "10")).position
    assert position is not None
    assert _count(db, lambda: db.positions.find_by_id(position.id)) == 1
    assert _count(db, lambda: db.agents.find_by_id(owner.agent_id)) == 1


def test_agent_with_wallets_is_one_round_trip(db: Database, owner: Owner) -> None:
    db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    found = db.agents.find_by_id(owner.agent_id)
    assert found is not None
    assert len(found.wallets) == 2
    assert _count(db, lambda: db.agents.find_by_id(owner.agent_id)) == 1


def test_page_of_agents_with_wallets_is_one_round_trip(db: Database, owner: Owner) -> None:
    for number in range(5):
        agent = db.agents.create(owner.user_id, f"agent {number}")
        db.wallets.create(f"L{uuid4().hex}", agent.id, "live")
    for size in (1, 5):
        assert _count(db, lambda size=size: db.agents.page_all(limit=size)) == 1  # type: ignore[misc]
        assert _count(db, lambda size=size: db.agents.page_by_user_id(owner.user_id, size)) == 1  # type: ignore[misc]
    assert _count(db, lambda: db.agents.find_by_user_id(owner.user_id)) == 1
    assert _count(db, lambda: db.historical_swaps.page_with_signal(owner.agent_id)) == 1


def test_list_is_one_round_trip(db: Database, owner: Owner) -> None:
    for _ in range(5):
        _buy(db, owner)
    assert _count(db, lambda: db.positions.list_by_agent(owner.agent_id)) == 1


def test_each_list_of_positions_is_one_round_trip(db: Database, owner: Owner) -> None:
    for _ in range(5):
        _buy(db, owner)
    lists: tuple[Callable[[], object], ...] = (
        db.positions.list_open,
        db.positions.page_open,
        db.positions.list_open_tokens,
        db.positions.page_open_tokens,
        lambda: db.positions.list_by_token("T"),
        lambda: db.positions.page_by_token("T"),
        lambda: db.positions.list_by_user(owner.user_id),
        lambda: db.positions.page_by_user(owner.user_id),
        lambda: db.positions.list_with_take_profit_activity(owner.agent_id),
        lambda: db.positions.list_moon_bags(owner.agent_id),
        lambda: db.positions.summarise_take_profits(owner.agent_id),
        lambda: db.positions.list_with_purchase(owner.agent_id),
        lambda: db.positions.page_with_purchase(owner.agent_id),
        lambda: db.balances.list_by_wallets(SOL_MINT, [owner.wallet_address]),
    )
    assert [_count(db, read) for read in lists] == [1] * len(lists)


def test_stream_is_one_round_trip_for_a_thousand_rows_and_four_around(fresh_database_url: str) -> None:
    """BEGIN; the cursor; its rows; CLOSE; COMMIT."""
    with Database(replace(Settings.from_url(fresh_database_url), pool_max_size=1)) as db:
        owner = funded_owner(db)
        for _ in range(5):
            _buy(db, owner)
        for stream in (
            db.positions.stream_open,
            db.positions.stream_open_tokens,
            lambda: db.positions.stream_with_purchase(owner.agent_id),
        ):
            assert _count(db, lambda stream=stream: list(stream())) == 5  # type: ignore[misc]


def test_transaction_adds_two_round_trips(db: Database, owner: Owner) -> None:
    def block() -> None:
        with db.transaction() as tx:
            tx.trades.buy(owner.buy("1", "10", f"T{uuid4().hex}"))
            tx.trades.buy(owner.buy("1", "10", f"T{uuid4().hex}"))

    assert _count(db, block) == 4


def test_batch_of_200_is_four_round_trips(db: Database, owner: Owner) -> None:
    """BEGIN; the wallets' locks and all orders; the end of their pipeline; COMMIT."""

    def batch() -> None:
        orders = [owner.buy("1", "10", f"T{uuid4().hex}") for _ in range(200)]
        assert len(db.trades.execute_many(orders)) == 200

    db.trades.deposit(owner.deposit("10000"))
    assert _count(db, batch) <= 4


@pytest.fixture
def tenant(roled: RoledDatabase) -> Iterator[tuple[Database, Owner]]:
    """A tenant's database with a single connection, and the tenant's rows."""
    settings = replace(Settings.from_url(roled.url_of("app")), pool_max_size=1)
    with Database(settings) as app:
        owner = new_owner(app)
    with Database(settings, tenant=owner.user_id) as database:
        database.trades.deposit(owner.deposit("1000"))
        yield database, owner


def test_tenant_query_alone_is_one_round_trip(tenant: tuple[Database, Owner]) -> None:
    db, owner = tenant
    position = db.trades.buy(owner.buy("1", "10")).position
    assert position is not None
    assert _count(db, lambda: db.positions.find_by_id(position.id)) == 1
    assert _count(db, lambda: db.agents.find_by_id(owner.agent_id)) == 1
    assert _count(db, lambda: db.positions.list_by_agent(owner.agent_id)) == 1


def test_tenant_trade_alone_is_one_round_trip(tenant: tuple[Database, Owner]) -> None:
    db, owner = tenant
    assert _count(db, lambda: _buy(db, owner)) == 1
    order = owner.buy("1", "10")
    assert _count(db, lambda: db.trades.buy(order)) == 1


def test_tenant_records_prices_of_own_positions_only(tenant: tuple[Database, Owner], roled: RoledDatabase) -> None:
    db, owner = tenant
    own = db.trades.buy(owner.buy("1", "10")).position
    with Database(replace(Settings.from_url(roled.url_of("app")), pool_max_size=1)) as app:
        other = app.trades.buy(funded_owner(app).buy("1", "10")).position
        assert own is not None
        assert other is not None
        updates = [PriceUpdate(position_id=position.id, price=Decimal("2")) for position in (own, other)]
        recorded: list[RecordedPrices] = []
        assert _count(db, lambda: recorded.append(db.positions.record_prices(updates))) == 1
        assert [position.id for position in recorded[0].changed] == [own.id]
        assert recorded[0].closed == (other.id,)
        assert app.positions.find_by_id(other.id) == other


def test_tenant_transaction_adds_no_round_trip(tenant: tuple[Database, Owner]) -> None:
    db, owner = tenant

    def block(lock_timeout_s: float | None = None) -> None:
        with db.transaction(lock_timeout_s=lock_timeout_s) as tx:
            tx.trades.deposit(owner.deposit("1"))

    assert _count(db, block) == 3  # with BEGIN and COMMIT
    assert _count(db, lambda: block(1)) == 3


@pytest.fixture
def cached(database_url: str, redis_url: str) -> Iterator[tuple[Database, Owner]]:
    """The same with a cache."""
    settings = replace(Settings.from_url(database_url), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    with Database(replace(settings, pool_max_size=1)) as database:
        owner = new_owner(database)
        database.trades.deposit(owner.deposit("1000"))
        yield database, owner


def test_cached_trade_alone_is_one_round_trip(cached: tuple[Database, Owner]) -> None:
    db, owner = cached
    assert _count(db, lambda: _buy(db, owner)) == 1


def test_cached_prices_are_one_round_trip_and_seen_at_once(cached: tuple[Database, Owner]) -> None:
    db, owner = cached
    positions = [db.trades.buy(owner.buy("0.1", "10", f"T{number}")).position for number in range(100)]
    ids = [position.id for position in positions if position is not None]
    db.cache.positions_of_agent(owner.agent_id)
    prices = itertools.count(2)

    def record() -> None:
        price = Decimal(next(prices))
        updates = [PriceUpdate(position_id=each, price=price, stop_loss_percentage=Decimal("-10")) for each in ids]
        assert len(db.positions.record_prices(updates).changed) == 100

    assert _count(db, record) == 1
    price = next(prices) - 1
    hits = db.cache.metrics().hits
    cached_rows = db.cache.positions_of_agent(owner.agent_id)
    assert db.cache.metrics().hits > hits
    assert {(row.peak_price, row.current_stop_loss_percentage) for row in cached_rows} == {(price, -10)}
    assert sorted(cached_rows, key=lambda row: row.id) == sorted(
        db.positions.list_by_agent(owner.agent_id), key=lambda row: row.id
    )


def test_prices_without_cache_reach_it_by_the_outbox(cached: tuple[Database, Owner], database_url: str) -> None:
    db, owner = cached
    position = db.trades.buy(owner.buy("0.1", "10", "T")).position
    assert position is not None
    assert db.cache.position(position.id) == position
    with Database(replace(Settings.from_url(database_url), redis_url=None)) as other:
        (changed,) = other.positions.record_prices([PriceUpdate(position_id=position.id, price=Decimal("2"))]).changed
    while db.cache.maintenance.run_once():
        pass
    assert db.cache.position(position.id) == changed


def test_cached_transaction_with_prices_shows_them_after_commit(cached: tuple[Database, Owner]) -> None:
    db, owner = cached
    position = db.trades.buy(owner.buy("0.1", "10", "T")).position
    assert position is not None
    assert db.cache.position(position.id) == position
    with db.transaction() as tx:
        (changed,) = tx.positions.record_prices([PriceUpdate(position_id=position.id, price=Decimal("2"))]).changed
    assert db.cache.position(position.id) == changed


def test_cached_transaction_with_writes_adds_one_round_trip(cached: tuple[Database, Owner]) -> None:
    db, owner = cached

    def block() -> None:
        with db.transaction() as tx:
            tx.trades.deposit(owner.deposit("1"))

    assert _count(db, block) == 4
    assert _count(db, lambda: db.agents.set_automated_trading(owner.agent_id, "live", True)) == 4


def test_round_trip_counter_counts_every_statement(db: Database) -> None:
    def twice() -> None:
        db.users.find_by_id(uuid4())
        db.users.find_by_id(uuid4())

    assert _count(db, twice) == 2


def test_assert_schema_is_one_round_trip(db: Database) -> None:
    assert _count(db, db.assert_schema) == 1


def test_cell_costs_no_round_trip(celled: CelledDatabase) -> None:
    with Database(replace(Settings.from_url(celled.url), pool_max_size=1)) as whole:
        counts = []
        for db in (whole, whole.for_schema(celled.cells[0])):
            owner = new_owner(db)
            counts.append(
                (
                    _count(whole, partial(_deposit, db, owner)),
                    _count(whole, partial(db.users.find_by_id, owner.user_id)),
                    _count(whole, partial(_find_in_transaction, db, owner)),
                    _count(whole, partial(whole.for_schema, celled.cells[1])),
                )
            )
    assert counts == [(1, 1, 3, 0)] * 2


def _deposit(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("1"))


def _find_in_transaction(db: Database, owner: Owner) -> None:
    with db.transaction() as tx:
        tx.users.find_by_id(owner.user_id)
