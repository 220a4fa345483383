"""A process that forks with open replicas: parent and child read there, each over sessions of its own, and neither sees
less than it has written."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.integration.test_forks import FLAVOURS, SECONDS, flavours
from tests.support.faults.fork_scenarios import POOL
from tests.support.faults.forking import run_scenario
from tests.support.servers.postgres_server import PostgresServer
from tests.support.servers.standby import replicated

Servers = tuple[PostgresServer, PostgresServer, PostgresServer]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with replicated() as running:
        yield running


@flavours
def test_parent_and_child_read_their_own_writes_on_replicas(servers: Servers, flavour: str) -> None:
    primary, *standbys = servers
    environment = {
        "NEXGENT_DB_POOL_MIN_SIZE": str(POOL),
        "NEXGENT_DB_POOL_MAX_SIZE": str(POOL),
        "DATABASE_REPLICA_URLS": ",".join(standby.url for standby in standbys),
    }
    report = run_scenario(FLAVOURS[flavour], "both_at_once", primary.url, environment, SECONDS)
    for process in ("parent", "child"):
        work = report[process]
        assert (work["wrong"], work["failed"], work["stuck"]) == (0, {}, 0), work["examples"]
        assert work["acknowledged"]
        assert work["replica_reads"] > 0
    assert report["child"]["sockets"] == []  # none of the parent's, of replicas neither
    assert report["exit_code"] == 0
    with psycopg.connect(primary.url) as connection:
        for process, wallet in report["wallets"].items():
            row = connection.execute(
                "SELECT balance FROM agent_balances WHERE wallet_address = %s", [wallet]
            ).fetchone()
            assert row is not None
            assert row[0] >= len(report[process]["acknowledged"])
