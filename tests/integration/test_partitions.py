"""``nexgent-db partition``: what it plans, that it goes on after an end, that trades do not notice, and its undoing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from nexgent_db import Database
from nexgent_db.aio.repositories.base import Repository
from nexgent_db.cli.app import app
from nexgent_db.contract._catalog import read_catalog as read_server_catalog
from nexgent_db.contract._check import check
from nexgent_db.contract._plans import explain, nodes, plan_of, seed, types_sent
from nexgent_db.contract._source import all_sources
from nexgent_db.errors import InvalidInput, MigrationError, MigrationLocked
from nexgent_db.errors.trades import IdempotencyConflict
from nexgent_db.migrations.partitions import TABLES, GrowingTable, Partitioner, PartitionStep, partitioner
from nexgent_db.models import SOL_MINT, BalanceSnapshotOrder, trade_id_of
from nexgent_db.schema.catalog import Catalog
from nexgent_db.schema.introspect import read_catalog
from nexgent_db.schema.roles import apply_roles
from tests.integration.sync.factories import Owner, new_owner

LONG_AGO: Final = datetime(2026, 1, 1, tzinfo=UTC)
RUNNER: Final = CliRunner()


@pytest.fixture
def partitioned_url(fresh_database_url: str) -> str:
    """A database of the test's own, partitioned month by month since January."""
    Partitioner(fresh_database_url).apply(first_ends=LONG_AGO)
    return fresh_database_url


@contextmanager
def psql(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def catalog_of(url: str) -> Catalog:
    with psql(url) as connection:
        return read_catalog(connection)


def rows_of(url: str) -> dict[str, list[str]]:
    with psql(url) as connection:
        return {
            table.name: [
                text for (text,) in connection.execute(f"SELECT t::text FROM {table.name} AS t ORDER BY 1".encode())
            ]
            for table in TABLES
        }


def funded(db: Database) -> Owner:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("1000", SOL_MINT))
    return owner


def traded(url: str) -> None:
    """One of everything: open, closed, reset, with and without a hash, and a snapshot."""
    with Database(url) as db:
        owner = funded(db)
        db.trades.buy(owner.buy("1", "100", "A", transaction_hash="hash", transaction_leg=0))
        db.trades.sell(owner.sell("100", "2", "A"))
        db.trades.buy(owner.buy("1", "100", "B"))
        db.trades.reset_wallet(new_owner(db).reset("5"))
        db.balance_snapshots.upsert(snapshot(owner, datetime(2026, 3, 5, 12, tzinfo=UTC)))


def snapshot(owner: Owner, at: datetime) -> BalanceSnapshotOrder:
    return BalanceSnapshotOrder(
        agent_id=owner.agent_id,
        wallet_address=owner.wallet_address,
        snapshot_timestamp=at,
        portfolio_balance_sol=Decimal(1),
        sol_balance=Decimal(1),
        positions_value_sol=Decimal(0),
        unrealized_pnl_sol=Decimal(0),
    )


# --- The conversion -----------------------------------------------------------------------------


def test_apply_sends_what_plan_shows(fresh_database_url: str) -> None:
    traded(fresh_database_url)
    planned = Partitioner(fresh_database_url).plan()
    sent: list[tuple[GrowingTable, PartitionStep]] = []
    done = Partitioner(fresh_database_url, on_step=lambda table, step, _: sent.append((table, step))).apply()
    assert done == len(sent) > 20
    assert [(table.name, step.name) for table, step in sent] == [(table.name, step.name) for table, step in planned]
    for (_, each), (_, other) in zip(sent, planned, strict=True):
        assert _told(each) == _told(other), each.name
    assert Partitioner(fresh_database_url).plan() == []
    assert Partitioner(fresh_database_url).apply() == 0


def _told(step: PartitionStep) -> list[str]:
    """The statements, without those of the keys' triggers, which the server words in its own way once they exist."""
    return sorted(each for each in step.statements if not each.startswith("CREATE TRIGGER trade_requests_key"))


class _Killed(Exception):
    pass


def test_interrupted_apply_and_undo_go_on_and_keep_every_row(fresh_database_url: str) -> None:
    traded(fresh_database_url)
    before, catalog = rows_of(fresh_database_url), catalog_of(fresh_database_url)

    def stop(*_: object) -> None:
        raise _Killed

    def finish(method: str) -> int:
        ends = 0
        while True:
            try:
                getattr(Partitioner(fresh_database_url, on_step=stop), method)()
            except _Killed:
                ends += 1
                assert rows_of(fresh_database_url) == before
            else:
                return ends

    assert finish("apply") > 20
    assert all(len(state.partitions) >= 4 for state in Partitioner(fresh_database_url).states())
    assert catalog_of(fresh_database_url) != catalog
    assert finish("undo") > 10
    assert catalog_of(fresh_database_url).without_column_order() == catalog.without_column_order()
    assert rows_of(fresh_database_url) == before


def test_undo_copies_what_went_to_other_partitions(partitioned_url: str) -> None:
    traded(partitioned_url)
    before = rows_of(partitioned_url)
    with pytest.raises(InvalidInput, match=r"agent_balance_snapshots: 1 rows would be copied .* and 0 may be"):
        Partitioner(partitioned_url).undo(max_rows=0)
    assert rows_of(partitioned_url) == before
    Partitioner(partitioned_url).undo()
    assert rows_of(partitioned_url) == before
    with Database(partitioned_url) as db:
        owner = funded(db)
        db.trades.buy(owner.buy("1", "100", "A"))


def test_trades_go_on_while_tables_are_partitioned_and_made_whole(fresh_database_url: str) -> None:
    made: list[int] = []
    failed: list[Exception] = []
    over = threading.Event()

    def trade() -> None:
        with Database(fresh_database_url) as db:
            owner, count = funded(db), 0
            try:
                while not over.is_set():
                    db.trades.buy(owner.buy("0.001", "100", f"T{uuid4().hex}", transaction_hash=uuid4().hex))
                    count += 1
            except Exception as error:
                failed.append(error)
            made.append(count)

    threads = [threading.Thread(target=trade) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        Partitioner(fresh_database_url).apply()
        Partitioner(fresh_database_url).undo()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failed
    with psql(fresh_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM agent_positions").fetchone() == (sum(made),)
        assert connection.execute("SELECT count(*) FROM agent_transactions").fetchone() == (sum(made) + 3,)


def test_long_transaction_stops_the_step_and_nothing_waits_for_long(fresh_database_url: str) -> None:
    Partitioner(fresh_database_url)
    with psql(fresh_database_url) as connection, connection.transaction():
        connection.execute("SELECT FROM agents FOR KEY SHARE")
        with pytest.raises(MigrationLocked, match="lock timeout"):
            Partitioner(fresh_database_url, attempts=2, lock_timeout_s=0.1).apply()
    assert Partitioner(fresh_database_url).apply() > 20


def test_view_of_a_table_is_refused_by_name(fresh_database_url: str) -> None:
    with psql(fresh_database_url) as connection:
        connection.execute("CREATE VIEW profits AS SELECT agent_id, profit_loss_sol FROM agent_historical_swaps")
    with pytest.raises(MigrationError, match="agent_historical_swaps: view profits would go on reading the first"):
        Partitioner(fresh_database_url).plan()


def test_requests_need_the_keys_of_transactions(fresh_database_url: str) -> None:
    with pytest.raises(MigrationError, match="partition agent_transactions first"):
        Partitioner(fresh_database_url, ["trade_requests"]).apply()
    with pytest.raises(InvalidInput, match="users is not one of agent_transactions"):
        Partitioner(fresh_database_url, ["users"])


def test_first_partition_may_not_end_before_its_rows(fresh_database_url: str) -> None:
    traded(fresh_database_url)
    with pytest.raises(InvalidInput, match="2026-01-01 is not in the future, and agent_transactions has rows"):
        Partitioner(fresh_database_url).apply(first_ends=LONG_AGO)


# --- What must be unique ------------------------------------------------------------------------


def test_hash_and_leg_are_taken_in_every_partition(partitioned_url: str) -> None:
    with Database(partitioned_url) as db:
        owner = funded(db)
        first = owner.deposit("1", SOL_MINT, transaction_time=datetime(2026, 2, 2, tzinfo=UTC))
        first = first.model_copy(update={"transaction_hash": "h", "transaction_leg": 0, "request_id": uuid4()})
        db.trades.deposit(first)
        again = first.model_copy(update={"request_id": uuid4(), "transaction_time": datetime(2026, 5, 2, tzinfo=UTC)})
        with pytest.raises(IdempotencyConflict, match="of the same hash"):
            db.trades.deposit(again)
        assert db.trades.deposit(first).duplicate
    with psql(partitioned_url) as connection, pytest.raises(pg.UniqueViolation) as refused:
        connection.execute(
            "INSERT INTO agent_transactions SELECT (jsonb_populate_record(t, jsonb_build_object('id', new_id(),"
            " 'transaction_time', now()))).* FROM agent_transactions AS t WHERE transaction_hash = 'h'"
        )
    assert refused.value.diag.constraint_name == "agent_transaction_keys_hash_key"


def test_one_request_id_of_two_agents_at_once_is_two_trades(partitioned_url: str) -> None:
    with Database(partitioned_url) as db, Database(partitioned_url) as other:
        one, two = funded(db), funded(db)
        request = uuid4()
        with db.transaction() as tx:
            tx.trades.deposit(one.deposit("1", SOL_MINT, request_id=request))
            assert not other.trades.deposit(two.deposit("1", SOL_MINT, request_id=request)).duplicate
        ids = [trade_id_of(owner.agent_id, request) for owner in (one, two)]
        assert {each.id for each in db.transactions.list_by_ids(ids)} == set(ids)


def test_keys_follow_a_wallets_address_and_go_with_the_purge(partitioned_url: str) -> None:
    with Database(partitioned_url) as db, psql(partitioned_url) as connection:
        owner = funded(db)
        db.trades.buy(owner.buy("1", "100", "A", transaction_hash="h"))
        db.trades.reset_wallet(owner.reset("5"))
        db.wallets.change_address(owner.agent_id, owner.wallet_address, "another")
        keys = "SELECT wallet_address FROM agent_transaction_keys WHERE transaction_hash = 'h'"
        assert connection.execute(keys).fetchall() == [("another",)]
        connection.execute("SELECT purge_agent_v1(%s, 'a test')", [owner.agent_id])
        assert connection.execute("SELECT count(*) FROM agent_transaction_keys").fetchone() == (0,)


def test_partitions_of_the_ledger_are_protected(partitioned_url: str) -> None:
    traded(partitioned_url)
    with psql(partitioned_url) as connection:
        (partition,) = connection.execute(
            "SELECT DISTINCT tableoid::regclass::text FROM agent_transactions"
        ).fetchone() or ("",)
        for statement in (f"DELETE FROM {partition}", f"TRUNCATE {partition}", "TRUNCATE agent_transactions"):
            with pytest.raises(pg.RestrictViolation, match="append-only"):
                connection.execute(statement.encode())


# --- Partitions ahead and old ones --------------------------------------------------------------


def test_missing_partition_is_an_error_and_maintenance_moves_its_rows(
    fresh_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(partitioner, "now", lambda: datetime.now(UTC) - timedelta(days=365))
        Partitioner(fresh_database_url).apply(first_ends=datetime(2025, 1, 1, tzinfo=UTC))
    traded(fresh_database_url)
    before = rows_of(fresh_database_url)
    code, said = run("check", fresh_database_url)
    assert code == 1
    assert "agent_transactions: there is no partition for" in said
    assert "rows go to agent_transactions_later, which has 5" in said
    assert run("maintain", fresh_database_url)[0] == 0
    assert run("check", fresh_database_url)[0] == 0
    assert rows_of(fresh_database_url) == before
    with psql(fresh_database_url) as connection:
        assert connection.execute("SELECT count(*) FROM agent_transactions_later").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM agent_transaction_keys").fetchone() == (5 + 1,)
    traded(fresh_database_url)
    assert run("maintain", fresh_database_url) == (0, "nothing to do\n")


def run(command: str, url: str, *options: str) -> tuple[int, str]:
    result = RUNNER.invoke(app, ["partition", command, *options, "--database-url", url])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 1, str(result.exception)
    return result.exit_code, "".join(
        line for line in result.output.splitlines(keepends=True) if not line.startswith("writes to")
    )


def test_old_snapshots_are_detached_or_dropped_and_a_late_one_has_a_place(partitioned_url: str) -> None:
    with Database(partitioned_url) as db, psql(partitioned_url) as connection:
        owner = funded(db)
        for month in (1, 2, 3):
            db.balance_snapshots.upsert(snapshot(owner, datetime(2026, month, 5, tzinfo=UTC)))
        retired = Partitioner(partitioned_url).retire("agent_balance_snapshots", datetime(2026, 3, 1, tzinfo=UTC))
        assert [each.name for each in retired] == [
            "agent_balance_snapshots_first_until_2026_03_01",
            "agent_balance_snapshots_2026_01_01",
            "agent_balance_snapshots_2026_02_01",
        ]
        assert connection.execute("SELECT count(*) FROM agent_balance_snapshots_2026_01_01").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM agent_balance_snapshots").fetchone() == (1,)
        db.balance_snapshots.upsert(snapshot(owner, datetime(2026, 1, 6, tzinfo=UTC)))
        dropped = Partitioner(partitioned_url).retire(
            "agent_balance_snapshots", datetime(2026, 5, 1, tzinfo=UTC), drop=True
        )
        assert all(each.dropped for each in dropped)
        assert connection.execute("SELECT count(*) FROM agent_balance_snapshots").fetchone() == (0,)
        assert connection.execute("SELECT to_regclass('agent_balance_snapshots_2026_03_01')").fetchone() == (None,)
    Partitioner(partitioned_url).undo()


def test_old_requests_go_but_resets_stay(partitioned_url: str) -> None:
    with Database(partitioned_url) as db, psql(partitioned_url) as connection:
        owner = funded(db)
        reset = owner.reset("5")
        db.trades.reset_wallet(reset)
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE trade_requests SET created_at = '2026-02-02'")
        retired = Partitioner(partitioned_url).retire("trade_requests", datetime(2026, 4, 1, tzinfo=UTC), drop=True)
        assert sum(each.kept for each in retired) == 1
        assert connection.execute("SELECT operation FROM trade_requests").fetchall() == [("reset_wallet",)]
        assert db.trades.reset_wallet(reset).duplicate


def test_empty_partitions_of_the_outbox_go_and_full_ones_stay(partitioned_url: str) -> None:
    with Database(partitioned_url) as db, psql(partitioned_url) as connection:
        funded(db)
        connection.execute("SELECT setval('row_version_seq', 35000000)")
        assert Partitioner(partitioned_url).retire("cache_outbox") == []
        connection.execute("DELETE FROM cache_outbox")
        names = [each.name for each in Partitioner(partitioned_url).retire("cache_outbox")]
        assert names == ["cache_outbox_first_until_20000000", "cache_outbox_10000000"]
        db.trades.deposit(new_owner(db).deposit("1", SOL_MINT))
        assert run("check", partitioned_url)[0] == 0


def test_ledger_never_retires(partitioned_url: str) -> None:
    for name in ("agent_transactions", "agent_historical_swaps"):
        with pytest.raises(InvalidInput, match="a balance is the sum of all its rows"):
            Partitioner(partitioned_url).retire(name, datetime.now(UTC))
    with pytest.raises(InvalidInput, match="before"):
        Partitioner(partitioned_url).retire("trade_requests")


# --- The rest of the package on it --------------------------------------------------------------


def test_roles_are_as_they_were(fresh_database_url: str) -> None:
    prefix = f"p{uuid4().hex[:8]}"
    with psql(fresh_database_url) as connection:
        apply_roles(connection, prefix)
        migrator = make_conninfo(fresh_database_url, user=f"{prefix}_migrator")
        Partitioner(migrator).apply()
        try:
            assert [each.subject for each in apply_roles(connection, prefix, keep=False)] == []
            public = connection.execute(
                "SELECT p.oid::regprocedure::text FROM pg_proc AS p WHERE p.proname LIKE 'trade_%%'"
                " AND p.prosecdef AND p.pronamespace = 'public'::regnamespace"
                " AND has_function_privilege('public', p.oid, 'EXECUTE')"
            ).fetchall()
            assert public == []
        finally:
            Partitioner(migrator).undo()
            assert [each.subject for each in apply_roles(connection, prefix, keep=False)] == []
            for role in ("app", "migrator", "tenant", "worker", "readonly", "owner"):
                connection.execute(f"REASSIGN OWNED BY {prefix}_{role} TO CURRENT_USER".encode())
                connection.execute(f"DROP OWNED BY {prefix}_{role}".encode())
                connection.execute(f"DROP ROLE {prefix}_{role}".encode())


def test_drift_compares_with_a_partitioned_database(partitioned_url: str, server_url: str) -> None:
    command = ["drift", "--scratch", server_url, "--database-url", partitioned_url]
    result = RUNNER.invoke(app, command)
    assert result.exit_code == 0, result.output
    with psql(partitioned_url) as connection:
        connection.execute("DROP INDEX agent_transactions_signal_id_idx")
    result = RUNNER.invoke(app, command)
    assert result.exit_code == 1
    assert "agent_transactions_signal_id_idx" in result.output


def test_contract_holds_on_partitions_but_for_ids_that_keys_keep(partitioned_url: str) -> None:
    with psql(partitioned_url) as connection:
        seed(connection)
        sources = all_sources(Repository)
        report = check(connection, sources)
        found = {(each.query, each.rule) for each in report.problems}
        # An id is unique by agent_transaction_keys, or by how it is made: no index of the table proves it.
        assert found == {
            ("historical_swaps.find_by_id", "cardinality"),
            ("transactions.find_by_id", "cardinality"),
        }
        plans = explain(connection, report.queries)
        # Four partitions of the outbox: the estimate of its entries grows, and 12,000 agents are cheaper to read whole.
        assert {(each.query, each.actual.split(",")[0]) for each in plans.problems} <= {
            ("cache.take_changes", "agents")
        }
        for name, trees in plans.trees.items():
            for tree in trees:
                scanned = [node for node in nodes(tree) if node["Node Type"] == "Seq Scan"]
                assert all(node["Plan Rows"] < 60_000 for node in scanned), name


def _read(url: str, query: str, **values: str) -> set[str]:
    """The partitions of the growing tables that the query reads for these values, and no others' parameters."""
    source = next(each for each in all_sources(Repository) if each.query.qualified_name == query)
    statement = next(each for each in source.variants() if set(each.parameters) == set(values))
    with psql(url) as connection, connection.transaction():
        types = types_sent(source, statement, ["text"] * len(values), read_server_catalog(connection))
        given = [values[name] for name in statement.parameters]
        explained = plan_of(connection, statement, types, given, analyze=True)
    return {
        node["Relation Name"]
        for node in nodes(explained["Plan"])
        if node.get("Actual Loops") and any(node.get("Relation Name", "").startswith(each.name) for each in TABLES)
    }


def test_queries_read_the_partitions_of_their_time_alone(partitioned_url: str) -> None:
    with Database(partitioned_url) as db:
        owner = funded(db)
        for month in range(2, 12):
            when = datetime(2026, month, 5, tzinfo=UTC)
            token = f"T{month}"
            for minute in range(20):  # an incremental sort reads 32 rows at least
                at = when + timedelta(minutes=minute)
                db.trades.buy(owner.buy("1", "100", token, transaction_time=at))
                db.trades.sell(owner.sell("100", "2", token, transaction_time=at))
            db.balance_snapshots.upsert(snapshot(owner, when))
    with psql(partitioned_url) as connection:
        connection.execute("ANALYZE")
        connection.execute("SET enable_seqscan = off")
    agent, wallet = str(owner.agent_id), owner.wallet_address
    november = {"agent_transactions_2026_11_01"}
    newest = _read(partitioned_url, "transactions.list_by_agent", agent_id=agent, limit="5")
    assert "agent_transactions_2026_11_01" in newest
    assert min(newest) == "agent_transactions_2026_11_01", "from the newest on, and none before"
    before = {"before_time": "2026-07-06", "before_id": str(uuid4())}
    assert _read(partitioned_url, "transactions.list_by_agent", agent_id=agent, limit="5", **before) == {
        "agent_transactions_2026_07_01"
    }
    summary = _read(partitioned_url, "performance.summarise", agent_id=agent, since="2026-11-04", until="2026-11-06")
    assert summary == november | {"agent_historical_swaps_2026_11_01"}
    count = _read(
        partitioned_url,
        "historical_swaps.count_by_agent",
        agent_id=agent,
        sale_time_from="2026-06-01",
        sale_time_to="2026-06-30",
    )
    assert count == {"agent_historical_swaps_2026_06_01"}
    hourly = _read(
        partitioned_url,
        "balance_snapshots.list_hourly",
        agent_id=agent,
        wallet_address=wallet,
        since="2027-02-05",
        limit="5",
    )
    assert min(hourly) == "agent_balance_snapshots_2027_02_01", "and those after it, as many as there are"
    latest = _read(partitioned_url, "balance_snapshots.find_latest", agent_id=agent, wallet_address=wallet)
    assert "agent_balance_snapshots_2026_10_01" not in latest
    deleted = _read(partitioned_url, "balance_snapshots.delete_older_than", before="2026-02-07", limit="5")
    assert "agent_balance_snapshots_2026_06_01" not in deleted
