"""Trades are pushed down to the cell's node; cells move between nodes while they are used, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import DatabaseError, MigrationError, MigrationLocked, NexgentError
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.citus_nodes import groups
from nexgent_db.settings import Settings
from tests.integration.citus.conftest import CitusCell, at
from tests.integration.sync.factories import Owner, balance_of, funded_owner
from tests.support.oracles.round_trips import round_trips
from tests.support.oracles.state import broken_rules


@pytest.fixture
def moved(new_cell: Callable[[], CitusCell]) -> CitusCell:
    return new_cell()


def other_node(cell: CitusCell) -> str:
    with psycopg.connect(cell.coordinator) as connection:
        return next(node for node in groups(connection) if node != cell.node)


@pytest.mark.parametrize("way", ["url", "for_schema"])
def test_single_trade_is_pushed_down(cell: CitusCell, way: str) -> None:
    """The coordinator plans one task for the cell's node, which runs the function with all of its statements."""
    url = cell.url if way == "url" else cell.coordinator
    notices = list[str]()
    with Database(replace(Settings.from_url(url), pool_max_size=1)) as whole:
        db = whole if way == "url" else whole.for_schema(cell.name)
        owner = funded_owner(db)
        lease = whole._lease()
        connection = lease.acquire()
        connection.add_notice_handler(lambda notice: notices.append(str(notice.message_primary)))
        connection.execute("SET client_min_messages = debug1")
        lease.release()
        db.trades.deposit(owner.deposit("1"))
        db.trades.buy(owner.buy("1", "10"))
        assert notices.count("pushing down the function call") == 2, notices


@pytest.mark.parametrize("over", ["coordinator", "node"])
def test_calls_are_one_round_trip(cell: CitusCell, over: str) -> None:
    """As on plain PostgreSQL: a read of a cell sends its search path with it."""
    url = cell.coordinator if over == "coordinator" else at(cell.coordinator, cell.node)
    with Database(replace(Settings.from_url(url), pool_max_size=1)) as whole:
        db = whole.for_schema(cell.name)
        owner = funded_owner(db)
        for call in (
            lambda: db.users.find_by_id(owner.user_id),
            lambda: db.trades.deposit(owner.deposit("1")),
            lambda: db.trades.buy(owner.buy("0.1", "10")),
        ):
            with round_trips(whole) as trips:
                call()
            assert trips.count == 1


def test_transaction_over_another_node_is_refused_and_loses_nothing(cell: CitusCell) -> None:
    """Its statements would run there one by one, and give versions of rows that are not in order."""
    with Database(cell.url) as db:
        owner = funded_owner(db)
        with pytest.raises(DatabaseError, match="the cell is on another node of Citus"), db.transaction() as tx:
            tx.trades.deposit(owner.deposit("1"))
        assert balance_of(db, owner) == 100
    with Database(cell.url_of_node) as db, db.transaction() as tx:
        tx.trades.deposit(owner.deposit("1"))
        assert tx.trades.deposit(owner.deposit("1")).transaction is not None
    with Database(cell.url) as db:
        assert balance_of(db, owner) == 102


def test_cell_moves_under_load(moved: CitusCell) -> None:
    """Four traders over the coordinator repeat an order until it is answered: each happens once."""
    start, target = moved.node, other_node(moved)
    stop, made, errors = threading.Event(), [0] * 4, list[str]()
    with Database(replace(Settings.from_url(moved.coordinator), pool_max_size=4)) as whole:
        db = whole.for_schema(moved.name)
        owners = [funded_owner(db) for _ in made]

        def trade(number: int) -> None:
            while not stop.is_set():
                order = owners[number].deposit("1", request_id=uuid4())
                for _ in range(50):
                    try:
                        db.trades.deposit(order)
                        made[number] += 1
                        break
                    except NexgentError as error:
                        errors.append(f"{type(error).__name__}: {error}")
                        time.sleep(0.1)

        threads = [threading.Thread(target=trade, args=(number,)) for number in range(len(made))]
        for thread in threads:
            thread.start()
        time.sleep(1)
        started, before = time.perf_counter(), sum(made)
        assert moved.cells.move(moved.name, target) == target
        taken, during = time.perf_counter() - started, sum(made) - before
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join()
        assert (moved.node, start) == (target, start)
        assert [balance_of(db, owner) for owner in owners] == [Decimal(100 + count) for count in made]
        assert during > 0, "no trade was made while the cell moved"
    print(f"move {taken:.1f} s, {during} trades meanwhile, {sum(made)} in all, {len(errors)} repeated: {set(errors)}")
    assert broken_rules(moved.url_of_node) == {}
    assert moved.cells.move(moved.name, start) == start
    assert broken_rules(moved.url_of_node) == {}


def test_versions_rise_across_moves(moved: CitusCell) -> None:
    versions = list[int]()
    with Database(moved.coordinator) as whole:
        db = whole.for_schema(moved.name)
        owner: Owner = funded_owner(db)
        for _ in range(3):
            moved.cells.move(moved.name, other_node(moved))
            db.trades.deposit(owner.deposit("1"))
            (row,) = db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
            versions.append(row.version)
    assert versions == sorted(set(versions))


def nodes_of_tables(cell: CitusCell) -> dict[str, set[str]]:
    """Where the shards of each table of the cell are."""
    found: dict[str, set[str]] = {}
    with psycopg.connect(cell.coordinator) as connection:
        for table, node in connection.execute(
            "SELECT c.relname::text, s.nodename || ':' || s.nodeport FROM pg_class AS c"
            " LEFT JOIN citus_shards AS s ON s.table_name = c.oid"
            " WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'",
            [cell.name],
        ):
            found.setdefault(table, set()).add(node)
    return found


def test_all_tables_of_a_cell_are_on_one_node(moved: CitusCell) -> None:
    for _ in range(2):
        tables = nodes_of_tables(moved)
        assert {"users", "agents", "agent_transactions", "trade_requests", "cache_outbox"} <= tables.keys()
        assert {table: nodes for table, nodes in tables.items() if nodes != {moved.node}} == {}
        moved.cells.move(moved.name, other_node(moved))


def test_two_movers_of_one_cell_lose_nothing(moved: CitusCell) -> None:
    """One moves it; the other waits for its turn, or gets an error that names the mover."""
    with Database(moved.coordinator) as whole:
        owner = funded_owner(whole.for_schema(moved.name))
        start, target = moved.node, other_node(moved)
        with ThreadPoolExecutor(2) as threads:
            moves = [threads.submit(moved.cells.move, moved.name, target) for _ in range(2)]
        ended = [move.exception() or move.result() for move in moves]
        assert target in ended
        for each in ended:
            assert each == target or isinstance(each, MigrationLocked), each
        assert (moved.node, start != target) == (target, True)
        assert set().union(*nodes_of_tables(moved).values()) == {target}
        db = whole.for_schema(moved.name)
        assert balance_of(db, owner) == 100
        db.trades.deposit(owner.deposit("1"))
    assert broken_rules(moved.url_of_node) == {}


def test_move_to_unknown_node_is_refused(cell: CitusCell) -> None:
    with pytest.raises(MigrationError, match=r"Citus has no node 127\.0\.0\.1:1 that takes tables: it has "):
        cell.cells.move(cell.name, "127.0.0.1:1")


def test_distributed_cell_is_migrated(moved: CitusCell) -> None:
    """The last migration is taken back and applied again on the distributed tables."""
    assert len(Migrator(moved.url).rollback(1)) == 1
    assert [cell.state for cell in moved.cells.statuses([moved.name])] == ["behind"]
    (result,) = moved.cells.migrate([moved.name])
    assert (result.error, len(result.applied)) == (None, 1)
    with Database(moved.url) as db:
        db.assert_schema()
        db.user_cells.create(uuid4(), "x")
