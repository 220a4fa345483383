# Generated from tests/integration/aio/test_wallet_address.py by `make sync`: do not edit.
"""A wallet's address is changed: its history follows, whatever trades at the same time, and so does the cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import (
    ForeignKeyViolation,
    IdempotencyConflict,
    InvalidInput,
    LedgerProtected,
    WalletNotFound,
    WalletTaken,
)
from nexgent_db.models import SOL_MINT, AgentWallet, BalanceSnapshotOrder
from nexgent_db.settings import Settings
from tests.integration.sync.caches import catch_up
from tests.integration.sync.factories import TOKEN, Owner, balance_of, funded_owner, new_owner
from tests.support.faults.concurrently import concurrently
from tests.support.oracles.state import broken_rules, rows_of
from tests.support.servers.valkey_server import ValkeyServer

TIME = datetime(2026, 1, 2, 3, tzinfo=UTC)
WRITERS = 8
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    " AND query LIKE '%change_wallet_address_v1%'"
)


def new_address() -> str:
    return f"C{uuid4().hex}"


def snapshot(owner: Owner, time: datetime = TIME) -> BalanceSnapshotOrder:
    figures = ("portfolio_balance_sol", "sol_balance", "positions_value_sol", "unrealized_pnl_sol")
    amounts: dict[str, Any] = dict.fromkeys(figures, Decimal(1))
    return BalanceSnapshotOrder(
        agent_id=owner.agent_id, wallet_address=owner.wallet_address, snapshot_timestamp=time, **amounts
    )


def with_history(db: Database) -> Owner:
    """A wallet with rows in every table: open and closed positions, resets with and without transactions."""
    owner = new_owner(db)
    db.trades.reset_wallet(owner.reset())
    db.trades.reset_wallet(owner.reset("100"))
    db.trades.buy(owner.buy("1", "10", transaction_hash="a hash"))
    db.trades.dca_buy(owner.dca_buy("1", "10"))
    db.trades.take_profit(owner.take_profit("5", "1"))
    db.trades.buy(owner.buy("1", "10", "Other"))
    db.trades.sell(owner.sell("10", "2", "Other"))
    db.trades.buy(owner.buy("1", "10", "Third"))
    db.trades.withdraw(owner.withdraw("1", destination_address=owner.wallet_address))
    db.balance_snapshots.upsert(snapshot(owner))
    return owner


def same_but_for_address(
    before: dict[str, list[tuple[Any, ...]]], after: dict[str, list[tuple[Any, ...]]], old: str, new: str
) -> bool:
    """Whether each row has the new address in the place of the old one, and only times and versions differ besides."""
    for table, rows in before.items():
        if len(rows) != len(after[table]):
            return False
        for row, changed in zip(rows, after[table], strict=True):
            for value, found in zip(row, changed, strict=True):
                if isinstance(value, datetime) or value == found:
                    continue
                if (value, found) == (old, new):
                    continue
                if table in ("agent_balances", "agent_positions") and isinstance(value, int) and found > value:
                    continue  # the version
                return False
    return True


# --- The history follows ------------------------------------------------------------------------


def test_every_row_follows_changed_address(db: Database, database_url: str) -> None:
    owner = with_history(db)
    other = db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    new = new_address()
    before = rows_of(database_url, owner.agent_id)
    changed = db.wallets.change_address(owner.agent_id, owner.wallet_address, new)
    assert changed is not None
    assert (changed.wallet_address, changed.agent_id, changed.wallet_type) == (new, owner.agent_id, "simulation")
    assert changed in db.wallets.list_by_agent(owner.agent_id)
    assert other in db.wallets.list_by_agent(owner.agent_id)
    after = rows_of(database_url, owner.agent_id)
    assert owner.wallet_address not in str(
        {table: rows for table, rows in after.items() if table != "agent_transactions"}
    )
    by_key = {table: sorted(rows, key=str) if table == "agent_wallets" else rows for table, rows in before.items()}
    by_key["agent_wallets"] = [row for row in by_key["agent_wallets"] if row[0] == owner.wallet_address]
    after["agent_wallets"] = [row for row in after["agent_wallets"] if row[0] == new]
    # The destination of the withdrawal is what was recorded.
    transactions = [row for row in after["agent_transactions"] if owner.wallet_address in row]
    assert len(transactions) == 1
    assert same_but_for_address(by_key, after, owner.wallet_address, new)
    snapshots = db.balance_snapshots.list_hourly(owner.agent_id, new, TIME)
    assert [each.wallet_address for each in snapshots] == [new]
    assert db.balance_snapshots.find_latest(owner.agent_id, owner.wallet_address) is None
    assert db.balances.list_ledger_differences(new) == []
    assert broken_rules(database_url) == {}


def test_trades_go_on_under_new_address(db: Database, database_url: str) -> None:
    owner = with_history(db)
    moved = replace(owner, wallet_address=new_address())
    assert db.wallets.change_address(owner.agent_id, owner.wallet_address, moved.wallet_address) is not None
    closed = db.trades.sell(moved.sell("15", "3"))
    assert closed.swap is not None
    assert closed.swap.wallet_address == moved.wallet_address
    db.trades.dca_buy(moved.dca_buy("1", "10", "Third"))
    db.trades.reset_wallet(moved.reset("5"))
    assert balance_of(db, moved) == 5
    back = db.wallets.change_address(owner.agent_id, moved.wallet_address, owner.wallet_address)
    assert back is not None
    assert balance_of(db, owner) == 5
    assert broken_rules(database_url) == {}


def test_change_and_trades_are_one_transaction(db: Database, database_url: str) -> None:
    owner = with_history(db)
    moved = replace(owner, wallet_address=new_address())
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(ZeroDivisionError), db.transaction() as tx:
        tx.trades.deposit(owner.deposit("1"))
        tx.wallets.change_address(owner.agent_id, owner.wallet_address, moved.wallet_address)
        tx.trades.deposit(moved.deposit("1"))
        raise ZeroDivisionError
    assert rows_of(database_url, owner.agent_id) == before
    with db.transaction() as tx:
        tx.trades.deposit(owner.deposit("1"))
        tx.wallets.change_address(owner.agent_id, owner.wallet_address, moved.wallet_address)
        tx.trades.buy(moved.buy("1", "1", "Fourth"))
    assert broken_rules(database_url) == {}


def test_repeated_order_of_old_address_is_refused_and_found_by_its_id(db: Database) -> None:
    owner = funded_owner(db)
    moved = replace(owner, wallet_address=new_address())
    order = owner.buy("1", "10", transaction_hash="a hash")
    first = db.trades.buy(order)
    db.wallets.change_address(owner.agent_id, owner.wallet_address, moved.wallet_address)
    with pytest.raises(WalletNotFound):
        db.trades.buy(order)
    with pytest.raises(WalletNotFound):  # a new order as well
        db.trades.deposit(owner.deposit("1"))
    (executed,) = db.trade_requests.list_by_ids([order.trade_id])
    assert executed.operation == "buy"
    recorded = db.transactions.find_by_id(order.trade_id)
    assert recorded == first.transaction.model_copy(update={"wallet_address": moved.wallet_address})
    with pytest.raises(IdempotencyConflict, match="another order of this id"):
        db.trades.buy(moved.buy("1", "10", request_id=order.request_id))
    with pytest.raises(IdempotencyConflict, match="of the same hash"):  # which gives the order another id
        db.trades.buy(moved.buy("1", "10", transaction_hash="a hash"))
    assert balance_of(db, moved) == 99


def test_repeated_order_under_reused_address_returns_its_first_result(db: Database) -> None:
    owner = funded_owner(db)
    order = owner.deposit("1")
    db.trades.deposit(order)
    new = new_address()
    db.wallets.change_address(owner.agent_id, owner.wallet_address, new)
    db.wallets.create(owner.wallet_address, owner.agent_id, "live")
    again = db.trades.deposit(order)
    assert again.duplicate
    assert again.transaction.wallet_address == new
    assert balance_of(db, owner) == 0


# --- Refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["another agent", "the same agent"])
def test_taken_address_is_refused(db: Database, database_url: str, of: str) -> None:
    owner = with_history(db)
    holder = new_owner(db) if of == "another agent" else owner
    taken = db.wallets.create(f"L{uuid4().hex}", holder.agent_id, "live").wallet_address
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(WalletTaken, match=taken):
        db.wallets.change_address(owner.agent_id, owner.wallet_address, taken)
    assert rows_of(database_url, owner.agent_id) == before


@pytest.mark.parametrize("address", ["x" * 45, "", "half a \ud83d", "NUL \0"])
def test_address_that_cannot_be_stored_is_refused(db: Database, database_url: str, address: str) -> None:
    owner = with_history(db)
    before = rows_of(database_url, owner.agent_id)
    with pytest.raises(InvalidInput) as refused:
        db.wallets.change_address(owner.agent_id, owner.wallet_address, address)
    assert refused.value.field == "new_address"
    assert rows_of(database_url, owner.agent_id) == before


def test_address_of_44_characters_is_accepted(db: Database) -> None:
    owner = funded_owner(db)
    longest = f"{uuid4().hex}{uuid4().hex}"[:44]
    changed = db.wallets.change_address(owner.agent_id, owner.wallet_address, longest)
    assert changed is not None
    assert changed.wallet_address == longest


def test_wallet_of_other_agent_is_not_found(db: Database, database_url: str) -> None:
    owner, stranger = with_history(db), new_owner(db)
    before = rows_of(database_url, owner.agent_id)
    assert db.wallets.change_address(stranger.agent_id, owner.wallet_address, new_address()) is None
    assert db.wallets.change_address(uuid4(), owner.wallet_address, new_address()) is None
    assert db.wallets.change_address(owner.agent_id, new_address(), new_address()) is None
    assert rows_of(database_url, owner.agent_id) == before


def test_same_address_changes_nothing(db: Database, database_url: str) -> None:
    owner = with_history(db)
    before = rows_of(database_url, owner.agent_id)
    same = db.wallets.change_address(owner.agent_id, owner.wallet_address, owner.wallet_address)
    assert [same] == db.wallets.list_by_agent(owner.agent_id)
    assert rows_of(database_url, owner.agent_id) == before


def test_wallet_with_changed_address_keeps_its_ledger(db: Database) -> None:
    owner = with_history(db)
    new = new_address()
    db.wallets.change_address(owner.agent_id, owner.wallet_address, new)
    with pytest.raises(LedgerProtected):
        db.wallets.delete(owner.agent_id, new)


# --- At the same time ---------------------------------------------------------------------------


@pytest.fixture
def crowd(database_url: str) -> Iterator[Database]:
    """A database with a connection for each writer."""
    with Database(replace(Settings.from_url(database_url), pool_max_size=WRITERS + 1)) as database:
        yield database


def test_trades_wait_for_change_and_none_is_lost(crowd: Database, database_url: str) -> None:
    owner = with_history(crowd)
    addresses = [owner.wallet_address, *(new_address() for _ in range(6))]
    before = balance_of(crowd, owner)
    made: list[int] = []
    failures: list[BaseException] = []  # the writers of a test that has failed end as well

    def trade(writer: int) -> None:
        """Deposits of 1 SOL, with a snapshot before or after them or without, until the last address has taken two."""
        place, done = 0, 0
        while done < 2 and not failures:
            holder = replace(owner, wallet_address=addresses[place])
            try:
                with crowd.transaction() as tx:
                    if writer % 4 == 1:
                        tx.balance_snapshots.upsert(snapshot(holder, datetime.now(UTC)))
                    tx.trades.deposit(holder.deposit("1"))
                    if writer % 4 == 2:
                        tx.balance_snapshots.upsert(snapshot(holder))
                made.append(writer)
                done += place == len(addresses) - 1
            except (WalletNotFound, ForeignKeyViolation):
                place += 1

    def change() -> None:
        try:
            for old, new in pairwise(addresses):
                assert crowd.wallets.change_address(owner.agent_id, old, new) is not None
        except BaseException as error:
            failures.append(error)
            raise

    tasks: list[Callable[..., Any]] = [change, *(partial(trade, writer) for writer in range(WRITERS))]
    concurrently(tasks)
    last = replace(owner, wallet_address=addresses[-1])
    assert balance_of(crowd, last) == before + len(made)
    assert crowd.balances.list_ledger_differences(last.wallet_address) == []
    assert broken_rules(database_url) == {}


def test_writer_of_snapshot_trades_while_change_waits_for_it(crowd: Database, database_url: str) -> None:
    """A snapshot's foreign key locks the wallet; the trade after it must not wait for the change."""
    owner = funded_owner(crowd)
    moved = replace(owner, wallet_address=new_address())
    snapshot_taken: list[bool] = []

    def trade() -> None:
        with crowd.transaction() as tx:
            tx.balance_snapshots.upsert(snapshot(owner, datetime.now(UTC)))
            snapshot_taken.append(True)
            with psycopg.connect(database_url, autocommit=True) as psql:
                while psql.execute(WAITING).fetchone() != (1,):
                    time.sleep(0.005)
            tx.trades.deposit(owner.deposit("1"))

    def change() -> None:
        while not snapshot_taken:
            time.sleep(0.005)
        assert crowd.wallets.change_address(owner.agent_id, owner.wallet_address, moved.wallet_address)

    concurrently([trade, change])
    assert balance_of(crowd, moved) == 101
    latest = crowd.balance_snapshots.find_latest(owner.agent_id, moved.wallet_address)
    assert latest is not None


def test_trade_that_waited_for_change_finds_no_wallet(crowd: Database) -> None:
    owner = funded_owner(crowd)
    new = new_address()

    def change() -> None:
        with crowd.transaction() as tx:
            assert tx.wallets.change_address(owner.agent_id, owner.wallet_address, new) is not None
            tx.trades.deposit(replace(owner, wallet_address=new).deposit("1"))

    tasks: list[Callable[..., Any]] = [change]
    tasks += [partial(crowd.trades.deposit, owner.deposit("1")) for _ in range(4)]
    outcomes = concurrently(tasks, return_exceptions=True)
    refused = sum(isinstance(each, WalletNotFound) for each in outcomes)
    assert [type(each) for each in outcomes if isinstance(each, BaseException)] == [WalletNotFound] * refused
    assert balance_of(crowd, replace(owner, wallet_address=new)) == 100 + 1 + 4 - refused


def test_concurrent_changes_of_one_wallet_make_one(crowd: Database) -> None:
    owner = funded_owner(crowd)
    targets = [new_address() for _ in range(4)]
    changed = concurrently(
        [partial(crowd.wallets.change_address, owner.agent_id, owner.wallet_address, new) for new in targets]
    )
    (winner,) = [each for each in changed if each is not None]
    assert crowd.wallets.list_by_agent(owner.agent_id) == [winner]
    assert balance_of(crowd, replace(owner, wallet_address=winner.wallet_address)) == 100


def test_concurrent_changes_to_one_address_give_it_to_one_wallet(crowd: Database) -> None:
    owners = [funded_owner(crowd) for _ in range(2)]
    new = new_address()
    changed = concurrently(
        [partial(crowd.wallets.change_address, each.agent_id, each.wallet_address, new) for each in owners],
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in changed) == ["AgentWallet", "WalletTaken"]
    (winner,) = [each for each in changed if isinstance(each, AgentWallet)]
    found = crowd.agents.find_wallet_by_address(new)
    assert found == winner


# --- The cache ----------------------------------------------------------------------------------


@pytest.fixture
def cached(database_url: str, server: ValkeyServer) -> Iterator[Database]:
    settings = replace(Settings.from_url(database_url), redis_url=server.url, cache_prefix=f"{uuid4()}:")
    with Database(settings) as database:
        catch_up(database)
        yield database


def assert_cache_equals_database(db: Database, owner: Owner) -> None:
    positions = db.positions.list_by_agent(owner.agent_id)
    balances = db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    assert db.cache.positions_of_agent(owner.agent_id) == positions
    assert [db.cache.position(row.id) for row in positions] == positions
    assert db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address) == sorted(
        balances, key=lambda row: row.token_address
    )
    for row in balances:
        assert db.cache.balance(owner.agent_id, owner.wallet_address, row.token_address) == row


@pytest.mark.parametrize("in_transaction", [False, True])
def test_cache_follows_changed_address(cached: Database, in_transaction: bool) -> None:
    owner = with_history(cached)
    moved = replace(owner, wallet_address=new_address())
    for each in (owner, moved):  # the empty list of the new address is cached as well
        assert_cache_equals_database(cached, each)
    if in_transaction:
        with cached.transaction() as tx:
            tx.trades.deposit(owner.deposit("1"))
            tx.wallets.change_address(owner.agent_id, owner.wallet_address, moved.wallet_address)
    else:
        cached.wallets.change_address(owner.agent_id, owner.wallet_address, moved.wallet_address)
    client: Any = cached.cache._client
    misses = cached.cache.metrics().misses
    assert_cache_equals_database(cached, moved)
    assert cached.cache.metrics().misses == misses  # the change itself has written the new rows
    assert cached.cache.balances_of_wallet(owner.agent_id, owner.wallet_address) == []
    for token in (SOL_MINT, TOKEN, "Other", "Third"):
        assert cached.cache.balance(owner.agent_id, owner.wallet_address, token) is None
        assert client.call("EXISTS", client.keys.balance(owner.agent_id, owner.wallet_address, token)) == 0
        assert client.call("EXISTS", client.keys.balance(owner.agent_id, moved.wallet_address, token)) == 1
    assert {row.wallet_address for row in cached.cache.positions_of_token(TOKEN) if row.agent_id == owner.agent_id} == {
        moved.wallet_address
    }


def test_other_process_relays_changed_address(cached: Database, db: Database, server: ValkeyServer) -> None:
    owner = with_history(cached)
    moved = replace(owner, wallet_address=new_address())
    for each in (owner, moved):
        assert_cache_equals_database(cached, each)
    db.wallets.change_address(owner.agent_id, owner.wallet_address, moved.wallet_address)  # without a cache
    while cached.cache.maintenance.run_once():
        pass
    for each in (owner, moved):
        assert_cache_equals_database(cached, each)
