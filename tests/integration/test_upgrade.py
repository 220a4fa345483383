"""The upgrade of a large database in use: which statements wait, which tables are rewritten, and no row is lost.

``make bench-upgrade`` measures times; these tests check their causes: the locks of a migration, and its reads.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import psycopg
import pytest

from nexgent_db.errors import ConnectionLost
from nexgent_db.migrations import Migrator
from nexgent_db.migrations.files import LAST_LEGACY_MIGRATION, Migration, read_folder
from nexgent_db.migrations.lock_report import LockReport, lock_reports
from nexgent_db.resources import data_dir
from nexgent_db.testing.databases import Databases
from tests.support.builders.many_rows import REWRITING, Size, digest, fill, user_id
from tests.support.faults.old_client import OldClients

IN_USE: Final = frozenset(
    {
        "agents", "agent_wallets", "agent_transactions", "agent_historical_swaps", "agent_balance_snapshots",
        "trading_signals", "signal_executions", "agent_balances", "agent_positions",
    }
)  # fmt: skip
"""The tables that trades use: large ones, and two that every trade refers to."""
_REFERRED_TO: Final = frozenset({"agents", "agent_wallets", "trading_signals"})
_PURCHASES: Final = "20261124100620_purchase_stays"
"""Blocks positions and, for the key that refers to them, transactions."""
"""The tables that keys of the others refer to: making or dropping a key locks both of its tables."""
_LONGEST_MS: Final = 500


def ours() -> list[Migration]:
    return [migration for migration in read_folder(data_dir("migrations")) if migration.id > LAST_LEGACY_MIGRATION]


@pytest.fixture(scope="module")
def filled_template(nexgent_databases: Databases) -> Iterator[str]:
    """A database after the legacy migrations, with rows in every table."""
    with nexgent_databases.empty() as url:
        assert len(list(fill(url, Size(5_000, 1_000)))) == 11
        yield url


@pytest.fixture
def filled_database(nexgent_databases: Databases, filled_template: str) -> Iterator[str]:
    """A copy of it that is the test's own."""
    with nexgent_databases.copy(filled_template) as url:
        yield url


@pytest.fixture(scope="module")
def observed(nexgent_databases: Databases, filled_template: str) -> list[LockReport]:
    """The lock reports of all our migrations, applied one after another to another copy."""
    with nexgent_databases.copy(filled_template) as url:
        return list(lock_reports(url, ours()))


def test_only_listed_migrations_make_trades_wait_while_they_read_or_rewrite(observed: list[LockReport]) -> None:
    long = {seen.name for seen in observed if seen.blocked & IN_USE and (seen.read | seen.rewritten) & IN_USE}
    assert long == REWRITING.keys()


def test_listed_migrations_match_guide(observed: list[LockReport]) -> None:
    guide = (Path(__file__).parents[2] / "docs/pages/guides/large-tables.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `(\d{14}_\w+)` \| (\w+) \| [\d.]+ \|$", guide, re.MULTILINE))
    assert listed == {seen.name: ", ".join(seen.rewritten) for seen in observed if seen.rewritten}
    assert listed.keys() == REWRITING.keys()


def test_migration_blocks_trades_on_one_table_and_those_its_keys_refer_to(
    observed: list[LockReport],
) -> None:
    texts = {migration.id: migration.up.text for migration in ours()}
    several = {seen.name: blocked for seen in observed if len(blocked := seen.blocked & IN_USE) > 1}
    # A column that keys refer to is changed together with the keys.
    assert several.pop("20261123090540_widen_signal_ids") == {
        "trading_signals", "agent_transactions", "agent_historical_swaps", "signal_executions"
    }  # fmt: skip
    assert several.pop(_PURCHASES) == {"agent_positions", "agent_transactions"}
    assert len(several) >= 5
    for name, blocked in several.items():
        assert len(blocked - _REFERRED_TO) == 1, name
        (table,) = blocked - _REFERRED_TO
        for referred in blocked & _REFERRED_TO:
            dropped = f"DROP CONSTRAINT {table}_{'agent_id' if referred == 'agents' else ''}"
            assert re.search(rf"REFERENCES {referred} |{dropped}\w*_fkey", texts[name]), (name, referred)


def test_blocking_migration_cancels_autovacuum_and_waits_half_a_second(
    observed: list[LockReport],
) -> None:
    """In all, not for each lock: the migration gives up before a trade that waits for it checks for a deadlock."""
    blocking = [seen for seen in observed if seen.blocked & IN_USE]
    assert len(blocking) >= 10
    for seen in blocking:
        blocked = seen.blocked & IN_USE
        gave_way = {lock.table for lock in seen.locks if lock.mode == "SHARE UPDATE EXCLUSIVE"}
        assert blocked <= gave_way, seen.name
        assert 0 < len(blocked) * seen.lock_timeout_ms <= _LONGEST_MS, seen.name


def test_header_names_every_lock_that_blocks_trades(observed: list[LockReport]) -> None:
    texts = {migration.id: migration.up.text for migration in ours()}
    for seen in observed:
        says = re.search(r"^-- Locks: (.*?)^-- Rollback loses: ", texts[seen.name], re.MULTILINE | re.DOTALL)
        assert says is not None, seen.name
        said = says[1].replace("\n-- ", " ")
        for table in seen.blocked & IN_USE:
            strongest = [lock.mode for lock in seen.locks if lock.table == table][-1]  # the weakest comes first
            assert re.search(rf"\b{strongest} on .*\b{table}\b", said), (seen.name, table)


def test_non_transactional_migration_takes_no_lock_that_blocks_trades(
    observed: list[LockReport],
) -> None:
    """Indexes are built and dropped concurrently; the other locks do not conflict with transactions that write."""
    alone = [seen for seen in observed if not seen.transactional]
    assert len(alone) >= 4
    assert {seen.name: seen.blocked for seen in alone if seen.blocked} == {}


def test_waiting_migration_does_not_block_trades(filled_database: str) -> None:
    """VACUUM holds the lock here: the migration waits for it where no trade does."""
    Migrator(filled_database).migrate(to=list(REWRITING)[-1])
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
        "remaining_amount < purchase_amount ORDER BY ctid DESC",
    ),
    "20261123091220_fill_realized_profits": (
        "agent_transactions",
        "realized_profit_sol IS NOT NULL",
        "id IN (SELECT sale_transaction_id FROM agent_historical_swaps"
        " UNION ALL SELECT unnest(take_profit_transaction_ids) FROM agent_positions) ORDER BY id DESC",
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
def test_interrupted_fill_keeps_progress_and_resumes(filled_database: str, name: str) -> None:
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


def test_clients_of_previous_release_trade_through_upgrade_without_loss(empty_database: str) -> None:
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
