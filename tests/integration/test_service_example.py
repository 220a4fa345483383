"""The worked example, tests/examples/service: its own tests, its checks, and two uvicorn workers stopped under load."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import httpx
import psutil
import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.models import FULL_ACCESS, SOL_MINT, trade_id_of
from nexgent_db.testing.databases import Databases
from nexgent_db.testing.sync import funded_wallet
from nexgent_db.testing.wallets import FundedWallet
from tests.support.oracles.state import broken_rules
from tests.support.servers.roles import RoledDatabase, new_prefix, roles_dropped
from tests.support.servers.valkey_server import ValkeyServer

SOURCE: Final = Path(__file__).resolve().parents[1] / "examples" / "service"
WORKERS: Final = 2
POOL: Final = 3
CLIENTS: Final = 8
LOAD_S: Final = 3.0
PATIENCE_S: Final = 60.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service in a folder of its own, as a stranger has it."""
    copied = tmp_path_factory.mktemp("project") / "service"
    shutil.copytree(SOURCE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    return copied


def run(service: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """The command in the service's folder, without the servers of these tests."""
    taken = ("DATABASE_URL", "REDIS_URL", "TESTS_DATABASE_URL", "TESTS_REDIS_URL")
    clean = {name: value for name, value in os.environ.items() if name not in taken and not name.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=service,
        env=clean | environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("workers", ["0", "2"])
def test_its_own_tests_pass(service: Path, workers: str) -> None:
    done = run(service, "pytest", "--numprocesses", workers)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_passes_mypy_without_settings(service: Path) -> None:
    done = run(service, "mypy", "--strict", "--config-file=", "price_alerts", "tests")
    assert done.stdout.startswith("Success: "), done.stdout


def test_its_migrations_pass_the_lint(service: Path) -> None:
    done = run(service, "nexgent_db.cli", "lint-migrations")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [("check",), ("check", "--offline")], ids=" ".join)
def test_its_queries_are_as_in_its_contract(service: Path, arguments: tuple[str, ...]) -> None:
    done = run(service, "nexgent_db.cli", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


# --- Two workers ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Deployed:
    """A database on which the service was deployed, and how it is started."""

    service: Path
    database: RoledDatabase
    redis_url: str
    folder: Path
    """For the log, and the metrics of the workers."""

    @property
    def log(self) -> Path:
        return self.folder / "service.log"

    @property
    def address(self) -> str:
        """The port is the system's choice."""
        found = re.search(r"running on (http://[0-9.:]+)", self.log.read_text())
        assert found is not None
        return found[1]

    @property
    def environment(self) -> dict[str, str]:
        metrics = self.folder / "metrics"
        metrics.mkdir(exist_ok=True)
        return {
            "DATABASE_URL": self.database.url_of("app"),
            "REDIS_URL": self.redis_url,
            "NEXGENT_DB_CACHE_PREFIX": f"{{{self.database.prefix}}}:",
            "NEXGENT_DB_POOL_MAX_SIZE": str(POOL),
            "NEXGENT_DB_DRAIN_S": "20",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }

    def client(self, headers: dict[str, str] | None = None) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False)


@pytest.fixture
def deployed(
    service: Path,
    server_url: str,
    nexgent_databases: Databases,
    nexgent_template_url: str,
    server: ValkeyServer,
    tmp_path: Path,
) -> Iterator[Deployed]:
    """The steps of a deployment: migrate, roles, rights."""
    prefix = new_prefix()
    with roles_dropped(server_url, prefix), nexgent_databases.copy(nexgent_template_url) as url:
        database = RoledDatabase(url, prefix)
        done = run(service, "nexgent_db.cli", "migrate", DATABASE_URL=url)
        assert "price_alerts/0001_price_alerts" in done.stderr, done.stdout + done.stderr
        database.apply()
        rights = (service / "rights.sql").read_text()
        with psycopg.connect(url) as connection:
            connection.execute(re.sub(r"\bnexgent_(app|tenant|worker|readonly)\b", rf"{prefix}_\1", rights).encode())
        yield Deployed(service, database, server.url, tmp_path)


@contextmanager
def uvicorn(deployed: Deployed) -> Iterator[subprocess.Popen[bytes]]:
    """The running service; ended afterwards if it still runs."""
    command = ["price_alerts.app:app", "--workers", str(WORKERS), "--port", "0", "--no-access-log"]
    with deployed.log.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *command, "--timeout-graceful-shutdown", "20"],
            cwd=deployed.service,
            env=os.environ | deployed.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_until(lambda: "running on " in deployed.log.read_text(), deployed)
            wait_until(lambda: both_answer(process, deployed), deployed)
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_until(condition: Callable[[], bool], deployed: Deployed) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, deployed.log.read_text()
        time.sleep(0.05)


def both_answer(process: subprocess.Popen[bytes], deployed: Deployed) -> bool:
    """Is the service ready, and has each worker a pool of its own?"""
    assert process.poll() is None, deployed.log.read_text()
    try:
        with deployed.client() as client:
            ready = client.get("/ready").status_code == 200
    except httpx.TransportError:
        return False
    return ready and sessions_of(deployed) >= WORKERS


def sessions_of(deployed: Deployed) -> int:
    """The service's connections to the database."""
    with psycopg.connect(deployed.database.url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = %s", [deployed.database.name_of("app")]
        ).fetchone()
    assert found is not None
    return int(found[0])


@dataclass
class Outcome:
    """What the clients know of their deposits of 1 SOL each, by request id."""

    acknowledged: list[UUID] = field(default_factory=list)
    unanswered: list[UUID] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def deposit(client: httpx.Client, owner: FundedWallet, request_id: UUID) -> httpx.Response:
    body = {
        "request_id": str(request_id),
        "agent_id": str(owner.agent.id),
        "wallet_address": owner.wallet.wallet_address,
        "token_address": SOL_MINT,
        "token_symbol": "SOL",
        "amount": "1",
    }
    return client.post("/trades/deposit", json=body)


def keep_depositing(
    deployed: Deployed, owner: FundedWallet, headers: dict[str, str], outcome: Outcome, over: threading.Event
) -> None:
    """Until the service takes no request any more."""
    with deployed.client(headers) as client:
        while not over.is_set():
            request_id = uuid4()
            try:
                answer = deposit(client, owner, request_id)
            except httpx.TransportError:
                outcome.unanswered.append(request_id)
                time.sleep(0.01)
            else:
                if answer.status_code == 200:
                    outcome.acknowledged.append(request_id)
                else:
                    outcome.refused.append(f"{answer.status_code} {answer.text}")


def ledger_of(url: str, wallet_address: str) -> list[UUID]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT id FROM agent_transactions WHERE wallet_address = %s AND input_amount = 1", [wallet_address]
        )
        return [row[0] for row in rows]


def waiting_changes(url: str) -> int:
    with psycopg.connect(url) as connection:
        return len(connection.execute("SELECT version FROM cache_outbox").fetchall())


def balance_of(url: str, wallet_address: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT balance FROM agent_balances WHERE wallet_address = %s", [wallet_address])
        return row.fetchone()


def test_sigterm_under_load_loses_nothing_that_was_acknowledged(deployed: Deployed) -> None:
    url = deployed.database.url
    with Database(url) as database:
        owners = [funded_wallet(database) for _ in range(CLIENTS)]
        keys = [database.api_keys.create(owner.user.id, "load", [FULL_ACCESS]) for owner in owners]
    headers = [{"Authorization": f"Bearer {key.secret.get_secret_value()}"} for key in keys]
    outcomes = [Outcome() for _ in owners]
    over = threading.Event()
    with uvicorn(deployed) as process:
        workers = psutil.Process(process.pid).children(recursive=True)
        threads = [
            threading.Thread(target=keep_depositing, args=(deployed, owner, header, outcome, over))
            for owner, header, outcome in zip(owners, headers, outcomes, strict=True)
        ]
        for thread in threads:
            thread.start()
        time.sleep(LOAD_S)
        assert WORKERS <= sessions_of(deployed) <= WORKERS * POOL
        process.terminate()
        code = process.wait(PATIENCE_S)
        over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        assert code in (0, -signal.SIGTERM), deployed.log.read_text()
        assert psutil.wait_procs(workers, timeout=10)[1] == []
        # The last worker relays what all have left, unless Redis is too slow; then the log has the number.
        left = waiting_changes(url)
        assert left == 0 or "changes in cache_outbox" in deployed.log.read_text()
    for owner, outcome in zip(owners, outcomes, strict=True):
        ledger = ledger_of(url, owner.wallet.wallet_address)
        assert outcome.refused == []
        assert outcome.acknowledged
        acknowledged = {trade_id_of(owner.agent.id, each) for each in outcome.acknowledged}
        unanswered = {trade_id_of(owner.agent.id, each) for each in outcome.unanswered}
        assert acknowledged <= set(ledger) <= acknowledged | unanswered
        assert len(ledger) == len(set(ledger))
        assert balance_of(url, owner.wallet.wallet_address) == (100 + len(ledger),)

    # Sent again to the next release, what was not answered happens once, whether it had happened or not.
    with uvicorn(deployed):
        for owner, header, outcome in zip(owners, headers, outcomes, strict=True):
            with deployed.client(header) as client:
                answers = [deposit(client, owner, request_id) for request_id in outcome.unanswered[:20]]
            assert [answer.status_code for answer in answers] == [200] * len(answers)
            done = ledger_of(url, owner.wallet.wallet_address)
            assert {trade_id_of(owner.agent.id, each) for each in outcome.unanswered[:20]} <= set(done)
            assert len(done) == len(set(done))
        with deployed.client() as client:
            metrics = client.get("/metrics").text
        counted = re.search(r'duration_seconds_count\{query="trades\.record_transaction"\} ([0-9.e+]+)', metrics)
        assert counted is not None, metrics
        assert float(counted[1]) >= sum(len(outcome.acknowledged) for outcome in outcomes)
    assert broken_rules(url) == {}


def test_database_that_comes_back_needs_no_restart(deployed: Deployed) -> None:
    """The pool's connections are all ended, as by a failover: the next requests are answered."""
    with Database(deployed.database.url) as database:
        owner = funded_wallet(database)
        key = database.api_keys.create(owner.user.id, "load", [FULL_ACCESS])
    headers = {"Authorization": f"Bearer {key.secret.get_secret_value()}"}
    with uvicorn(deployed) as process, deployed.client(headers) as client:
        assert deposit(client, owner, uuid4()).status_code == 200
        with psycopg.connect(deployed.database.url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s",
                [deployed.database.name_of("app")],
            )
        wait_until(lambda: deposit(client, owner, uuid4()).status_code == 200, deployed)
        assert process.poll() is None
