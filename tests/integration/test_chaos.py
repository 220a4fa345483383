"""Short runs of ``make chaos``: each part at a fraction of its amounts."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator

import psutil
import psycopg
import pytest

from nexgent_db.testing.databases import Databases
from tests.chaos.accounting import Place
from tests.chaos.amounts import Clock, OneWallet, Trades
from tests.chaos.clock import run as run_clock
from tests.chaos.commandline import interrupt
from tests.chaos.commits import cut_commits
from tests.chaos.isolation import IsolatedThreads, Level
from tests.chaos.mixed import POOL, MixedLoad
from tests.chaos.one_wallet import WalletThreads
from tests.chaos.processes import Chaos
from tests.chaos.threads import Threads
from tests.support.faults.shifted_clock import why_no_shifted_clock
from tests.support.oracles.trade_oracle import Findings, examine
from tests.support.servers.postgres_server import postgres_server
from tests.support.servers.roles import RoledDatabase, roled_copy
from tests.support.servers.valkey_server import ValkeyServer, valkey_server
from tests.support.servers.valkey_topologies import wait_until

SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'nexgent-db'"
)
CUTS = 6
INTERRUPTIONS = 25
"""In each of five uses, with two sizes of the pool, of tasks and of threads."""


@pytest.fixture
def database_with_roles(
    server_url: str, nexgent_databases: Databases, nexgent_template_url: str
) -> Iterator[RoledDatabase]:
    """A migrated database of the test's own, with roles."""
    with roled_copy(server_url, nexgent_databases, nexgent_template_url) as database:
        yield database


@pytest.fixture
def seed() -> int:
    """Another one in each run; pytest shows it when the test fails."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return seed


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with valkey_server() as server:
        yield server


def test_killed_processes_lose_double_or_misreport_no_trade(seed: int) -> None:
    amounts = Trades(trades=300, processes=2, kills=3, backends=4, redis_faults=4, stops=1)
    with postgres_server() as database, valkey_server() as valkey:
        chaos = Chaos(database, valkey, seed, processes=amounts.processes)
        chaos.run(amounts)
    assert chaos.trades >= amounts.trades
    assert chaos.counted["reads"] > 0
    assert chaos.counted["sent again after a death"] + chaos.counted["sent again after a failure"] >= 2


def test_trade_whose_commit_was_cut_returns_its_first_result(
    fresh_database_url: str, valkey: ValkeyServer, seed: int
) -> None:
    counted, found = cut_commits(fresh_database_url, valkey.url, CUTS, seed)
    assert found == []
    assert counted["ConnectionLost"] == counted["run_transaction"] == CUTS


def test_threads_of_one_wallet_mint_and_lose_nothing(fresh_database_url: str, seed: int) -> None:
    threads = WalletThreads(fresh_database_url, seed, OneWallet().threads)
    assert threads.run(320) == []
    assert threads.wallet.counted.total() >= 320


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_strict_isolation_shows_conflicts_and_no_anomaly(
    fresh_database_url: str, valkey: ValkeyServer, seed: int, level: Level, caplog: pytest.LogCaptureFixture
) -> None:
    threads = IsolatedThreads(fresh_database_url, valkey, level, seed)
    assert threads.run(48) == []
    assert threads.counted["transactions"] == 48
    assert [record for record in caplog.records if "cannot be read" in record.message] == []  # conflicts are ordinary


def test_mixed_load_keeps_no_connection_thread_or_descriptor(
    fresh_database_url: str, valkey: ValkeyServer, seed: int
) -> None:
    """How these and what else is measured grow meanwhile shows in minutes only: `make chaos`."""
    findings, process = Findings(), psutil.Process()
    threads, descriptors = process.num_threads(), process.num_fds()
    load = MixedLoad(fresh_database_url, valkey, seed)
    load.run(4)
    gc.collect()
    assert (process.num_threads(), process.num_fds()) == (threads, descriptors)
    assert max(load.samples.series["sessions"]) <= 2 * POOL
    with psycopg.connect(fresh_database_url, autocommit=True) as database:
        wait_until(lambda: database.execute(SESSIONS).fetchone() == (0,), "no session is left")
        examine(database, load.records, findings)
    assert findings.lines() == []
    assert load.counted["trades"] > 0


def test_clock_set_back_an_hour_fails_no_call_for_long(seed: int) -> None:
    if reason := why_no_shifted_clock():
        pytest.skip(reason)
    assert run_clock(Clock(times=1), seed) == []


@pytest.mark.parametrize("local_rows", [0, 100])
def test_reads_include_own_writes_during_redis_faults(database_url: str, local_rows: int) -> None:
    with valkey_server() as valkey:
        threads = Threads(database_url, valkey, seed=1, local_rows=local_rows)
        with threads.running():
            opened = {name for name in Threads.DISTURBANCES if threads.disturb(name)}
        assert opened >= {"hung for long", "emptied", "full"}  # the others may be over at once, or cost nothing


def test_interrupted_calls_lose_no_trade_and_no_connection(database_with_roles: RoledDatabase) -> None:
    with valkey_server() as valkey:
        place = Place(database_with_roles.url, database_with_roles.url_of("app"), valkey.url)
        assert interrupt(INTERRUPTIONS, 1, place) == []
