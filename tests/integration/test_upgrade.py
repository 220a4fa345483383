"""The upgrade of a database that is in use and full of rows: what may wait, what is rewritten, that nothing is lost.

Times are for ``make bench-upgrade``; here is what they follow from: which locks a migration holds, and what it reads.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Final

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from nexgent_db._data import data_dir
from nexgent_db._migrating.files import Migration, read_folder
from nexgent_db._migrating.locks import MeasuredMigration, measured
from nexgent_db.errors import ConnectionLost
from nexgent_db.migrations import Migrator
from tests.conftest import new_database
from tests.support.many_rows import LAST_OF_HISTORY, REWRITING, Size, digest, fill, user_id
from tests.support.old_client import OldClients

IN_USE: Final = frozenset(
    {
        "agents", "agent_wallets", "agent_transactions", "agent_historical_swaps", "agent_balance_snapshots",
        "trading_signals", "signal_executions", "agent_balances", "agent_positions",
    }
)  # fmt: skip
"""The tables that trades use: large ones, and two that every trade refers to."""
_LONGEST_MS: Final = 500


def ours() -> list[Migration]:
    return [migration for migration in read_folder(data_dir("migrations")) if migration.id > LAST_OF_HISTORY]


@pytest.fixture(scope="module")
def filled_template(pg_server: SimpleNamespace) -> Iterator[str]:
    """The name of a database at the end of the history, with rows in every table."""
    with new_database(pg_server, None) as url:
        assert len(list(fill(url, Size(5_000, 1_000)))) == 11
        yield str(conninfo_to_dict(url)["dbname"])


@pytest.fixture
def filled_database(pg_server: SimpleNamespace, filled_template: str) -> Iterator[str]:
    """A copy of it that is the test's own."""
    with new_database(pg_server, filled_template) as url:
        yield url


@pytest.fixture(scope="module")
def observed(pg_server: SimpleNamespace, filled_template: str) -> list[MeasuredMigration]:
    """Every migration of ours, applied in its turn to another copy."""
    with new_database(pg_server, filled_template) as url:
        return list(measured(url, ours()))


def test_only_listed_migrations_make_trades_wait_while_they_read_or_rewrite(observed: list[MeasuredMigration]) -> None:
    long = {seen.name for seen in observed if seen.blocked & IN_USE and (seen.read | seen.rewritten) & IN_USE}
    assert long == REWRITING.keys()


def test_the_listed_migrations_are_those_of_the_readme(observed: list[MeasuredMigration]) -> None:
    readme = (data_dir("migrations") / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\d{14}_\w+)` \| (\w+) \| [\d.]+ \|$", readme, re.MULTILINE))
    assert listed == {seen.name: ", ".join(seen.rewritten) for seen in observed if seen.rewritten}
    assert listed.keys() == REWRITING.keys()


def test_a_migration_makes_trades_wait_for_one_table_or_for_the_two_of_a_foreign_key(
    observed: list[MeasuredMigration],
) -> None:
    foreign_key = re.compile(r"^ +FOREIGN KEY |^ALTER TABLE \w+ DROP CONSTRAINT \w+_fkey;", re.MULTILINE)
    texts = {migration.id: migration.up.text for migration in ours()}
    for seen in observed:
        blocked = seen.blocked & IN_USE
        if len(blocked) > 1:
            assert len(blocked - {"agent_wallets"}) == 1, seen.name
            assert foreign_key.search(texts[seen.name]), seen.name


def test_who_makes_trades_wait_has_made_autovacuum_give_way_and_waits_half_a_second(
    observed: list[MeasuredMigration],
) -> None:
    """In all, not for each of its locks: it has given up before a trade that waits for it looks for a deadlock."""
    blocking = [seen for seen in observed if seen.blocked & IN_USE]
    assert len(blocking) >= 10
    for seen in blocking:
        blocked = seen.blocked & IN_USE
        gave_way = {lock.table for lock in seen.locks if lock.mode == "SHARE UPDATE EXCLUSIVE"}
        assert blocked <= gave_way, seen.name
        assert 0 < len(blocked) * seen.lock_timeout_ms <= _LONGEST_MS, seen.name


def test_a_header_names_every_lock_that_trades_wait_for(observed: list[MeasuredMigration]) -> None:
    texts = {migration.id: migration.up.text for migration in ours()}
    for seen in observed:
        says = re.search(r"^-- Locks: (.*?)^-- Rollback loses: ", texts[seen.name], re.MULTILINE | re.DOTALL)
        assert says is not None, seen.name
        said = says[1].replace("\n-- ", " ")
        for table in seen.blocked & IN_USE:
            strongest = [lock.mode for lock in seen.locks if lock.table == table][-1]  # the weakest comes first
            assert re.search(rf"\b{strongest} on .*\b{table}\b", said), (seen.name, table)


def test_what_runs_outside_of_a_transaction_needs_no_lock_that_trades_wait_for(
    observed: list[MeasuredMigration],
) -> None:
    """Indexes are built and dropped concurrently; whatever else there is gets along with transactions that write."""
    alone = [seen for seen in observed if not seen.transactional]
    assert len(alone) >= 5
    assert {seen.name: seen.blocked for seen in alone if seen.blocked} == {}


def test_a_waiting_migration_does_not_hold_up_trades(filled_database: str) -> None:
    """While somebody vacuums, that is: the migration queues where no trade does."""
    Migrator(filled_database).migrate(to="20261123090500_widen_snapshot_numbers")
    with psycopg.connect(filled_database) as vacuum, psycopg.connect(filled_database, autocommit=True) as trader:
        vacuum.execute("LOCK TABLE agent_transactions IN SHARE UPDATE EXCLUSIVE MODE")
        migrating = threading.Thread(target=Migrator(filled_database).migrate)
        migrating.start()
        try:
            while not trader.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND relation IS NOT NULL").fetchone():
                time.sleep(0.01)
            trader.execute("SET lock_timeout = '100ms'")
            trader.execute("UPDATE agent_transactions SET updated_at = now() WHERE signal_id = 1")
        finally:
            vacuum.rollback()
            migrating.join()
    assert Migrator(filled_database).pending() == []


_FILLS: Final = {
    "20261123091210_fill_position_proceeds": (
        "agent_positions",
        "proceeds_sol <> 0",
        "remaining_amount IS NOT NULL ORDER BY ctid DESC",
    ),
    "20261123091310_fill_transaction_legs": (
        "agent_transactions",
        "transaction_leg = 1",
        "(wallet_address, transaction_hash)"
        " IN (SELECT wallet_address, transaction_hash FROM agent_transactions GROUP BY 1, 2 HAVING count(*) > 1)"
        " ORDER BY wallet_address DESC, transaction_hash DESC, transaction_time DESC",
    ),
}
"""The table, what a filled row looks like, and which row comes last."""


@pytest.mark.parametrize("name", _FILLS)
def test_a_fill_that_is_cut_off_keeps_what_it_has_done_and_goes_on_from_there(filled_database: str, name: str) -> None:
    table, filled, last = _FILLS[name]
    names = [migration.id for migration in ours()]
    Migrator(filled_database).migrate(to=names[names.index(name) - 1])

    def count() -> int:
        return int(dba.execute(f"SELECT count(*) FROM {table} WHERE {filled}".encode()).fetchall()[0][0])

    with psycopg.connect(filled_database) as holder, psycopg.connect(filled_database, autocommit=True) as dba:
        holder.execute(f"SELECT 1 FROM {table} WHERE {last} LIMIT 1 FOR UPDATE".encode())
        with ThreadPoolExecutor() as pool:
            migrating = pool.submit(Migrator(filled_database).migrate, name)
            while not (found := dba.execute(_WAITS_FOR_A_ROW).fetchall()):
                assert not migrating.done(), "it has not come to the row"
                time.sleep(0.01)
            dba.execute("SELECT pg_terminate_backend(%s)", found[0])
            assert isinstance(migrating.exception(), ConnectionLost)
        done = count()
        holder.rollback()
        Migrator(filled_database).migrate(name)
        assert count() == done + 1 >= 5


_WAITS_FOR_A_ROW: Final = """
    SELECT a.pid FROM pg_locks AS l INNER JOIN pg_stat_activity AS a USING (pid)
    WHERE NOT l.granted AND l.locktype IN ('transactionid', 'tuple') AND a.datname = current_database()
"""


def test_clients_of_the_release_before_trade_through_the_upgrade_and_nothing_is_lost(empty_database: str) -> None:
    for _ in fill(empty_database, Size(50_000, 10_000)):
        pass
    before = digest(empty_database, apart_from_user=1)
    with OldClients(empty_database, user_id(1), connections=2) as clients:
        Migrator(empty_database).migrate()
        while len({sent.what for sent in clients.sent}) < 20 and not clients.errors:  # also with the new tables
            time.sleep(0.01)
    assert clients.errors == []
    assert clients.lost() == []
    assert digest(empty_database, apart_from_user=1) == before
