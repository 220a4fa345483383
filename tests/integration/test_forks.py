"""After a fork, parent and child share no connection: no row, reply, message or close of one reaches the other.

pytest itself does not fork: each scenario of tests/support/faults/fork_scenarios.py is a process of its own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.support.faults.fork_scenarios import POOL, WAYS
from tests.support.faults.forking import run_scenario
from tests.support.servers.valkey_server import ValkeyServer

SECONDS = "3"
FORKS = "20"
FLAVOURS = {"sync": "tests.support.faults.fork_scenarios", "async": "tests.support.faults.fork_scenarios_async"}

flavours = pytest.mark.parametrize("flavour", FLAVOURS)
caches = pytest.mark.parametrize("cache", ["no cache", "redis", "local"])


@pytest.fixture
def environment(request: pytest.FixtureRequest, cache: str) -> dict[str, str]:
    """A pool of fixed size, and a cache of the test's own."""
    pool = {"NEXGENT_DB_POOL_MIN_SIZE": str(POOL), "NEXGENT_DB_POOL_MAX_SIZE": str(POOL)}
    if cache == "no cache":
        return pool
    server: ValkeyServer = request.getfixturevalue("server")
    local = {"NEXGENT_DB_LOCAL_CACHE_ROWS": "100"} if cache == "local" else {}
    return {**pool, **local, "REDIS_URL": server.url}


def _assert_parent_unharmed(report: dict[str, Any]) -> None:
    assert len(report["backends_before"]) == POOL
    assert report["backends_after"] == report["backends_before"]
    _assert_right(report["afterwards"])


def _assert_right(work: dict[str, Any]) -> None:
    """No answer of another process, no error, and no call that does not return."""
    assert (work["wrong"], work["failed"], work["stuck"]) == (0, {}, 0), work["examples"]
    assert work["reads"] > 0
    assert work["acknowledged"]


def _assert_stored(database_url: str, wallet: str, *works: dict[str, Any]) -> None:
    """Every acknowledged deposit of 1 is there, once, in the wallet of the process that made it."""
    acknowledged = [identifier for work in works for identifier in work["acknowledged"]]
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT id::text FROM agent_transactions WHERE wallet_address = %s", [wallet])
        stored = {identifier for (identifier,) in rows}
        balance = connection.execute("SELECT balance FROM agent_balances WHERE wallet_address = %s", [wallet])
        total = sum((amount for (amount,) in balance), Decimal(0))
    assert set(acknowledged) <= stored
    assert total == len(stored)


@flavours
@caches
def test_parent_and_child_receive_only_own_replies(
    database_url: str, environment: dict[str, str], flavour: str, cache: str
) -> None:
    report = run_scenario(FLAVOURS[flavour], "both_at_once", database_url, environment, SECONDS)
    _assert_both_right(database_url, report, cache)


@pytest.mark.parametrize("cache", ["local"])
def test_parent_and_child_with_uvloop_receive_only_own_replies(
    database_url: str, environment: dict[str, str], cache: str
) -> None:
    pytest.importorskip("uvloop", reason="uvloop is not to be had on this platform")
    report = run_scenario(FLAVOURS["async"], "both_at_once", database_url, environment, SECONDS, "uvloop")
    _assert_both_right(database_url, report, cache)


def _assert_both_right(database_url: str, report: dict[str, Any], cache: str) -> None:
    for process in ("parent", "child"):
        _assert_right(report[process])
        _assert_stored(database_url, report["wallets"][process], report[process])
        assert (report[process]["hits"] > 0) is (cache != "no cache")
    _assert_parent_unharmed(report)
    of_child = set(report["backends_during"]) - set(report["backends_before"])
    assert 1 <= len(of_child) <= POOL  # its own
    assert report["child"]["sockets"] == []  # and none of the parent's, of whatever server
    assert report["exit_code"] == 0


@pytest.mark.parametrize("cache", ["no cache", "local"])
def test_child_that_forks_works_as_parent(database_url: str, environment: dict[str, str], cache: str) -> None:
    report = run_scenario(FLAVOURS["sync"], "generations", database_url, environment, "1")
    for work in report["works"]:
        _assert_right(work)
    assert report["inherited"] == []
    _assert_parent_unharmed(report)


@pytest.mark.parametrize("cache", ["local"])
def test_child_reads_row_cached_in_parent_again(database_url: str, environment: dict[str, str], cache: str) -> None:
    report = run_scenario(FLAVOURS["sync"], "reads_local_rows", database_url, environment)
    assert Decimal(report["parent"]) == Decimal(report["before"]) + 1
    assert report["child"] == [report["parent"]]
    assert report["hits"] > 0
    _assert_parent_unharmed(report)


@pytest.mark.parametrize(
    ("flavour", "scenario", "cache"),
    [
        ("sync", "beside_threads", "no cache"),
        ("sync", "beside_threads", "local"),
        ("async", "beside_tasks", "no cache"),
        ("async", "beside_tasks", "local"),
    ],
)
def test_child_forked_amid_queries_and_locks_works(
    database_url: str, environment: dict[str, str], flavour: str, scenario: str, cache: str
) -> None:
    report = run_scenario(FLAVOURS[flavour], scenario, database_url, environment, FORKS)
    assert report["stuck_children"] == 0
    assert len(report["children"]) == int(FORKS)
    for work in report["children"]:
        _assert_right(work)
    _assert_right(report["parent"])
    _assert_parent_unharmed(report)
    _assert_stored(database_url, report["wallets"]["child"], *report["children"])
    _assert_stored(database_url, report["wallets"]["parent"], report["parent"])


@pytest.mark.parametrize("cache", ["no cache", "local"])
def test_child_forked_while_another_thread_holds_every_lock_works(
    database_url: str, environment: dict[str, str], cache: str
) -> None:
    report = run_scenario(FLAVOURS["sync"], "with_locks_held", database_url, environment)
    assert report["held"] == len(report["locks"]) > POOL  # the connections' and the pool's
    assert not report["stuck"]
    _assert_right(report["child"])
    _assert_parent_unharmed(report)


@flavours
@pytest.mark.parametrize(
    ("mode", "leave", "cache"),
    [("plain", "normal", "no cache"), ("plain", "raising", "local"), ("pipeline", "normal", "no cache")],
)
def test_transaction_started_before_fork_belongs_to_parent(
    database_url: str, environment: dict[str, str], flavour: str, mode: str, leave: str, cache: str
) -> None:
    report = run_scenario(FLAVOURS[flavour], "in_transaction", database_url, environment, mode, leave)
    child, (first, _, *rest) = report["child"], report["orders"]
    used = child["used"]
    for name in ("database within", "database"):  # that one works, with connections of the child's own
        assert used.pop(name) is None
    for name in ("leave inner", "leave") if leave == "raising" else ():
        assert "Left" in used[name]  # the child's own error is not lost
    _assert_misused(used, child["parent"])
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT id::text FROM agent_transactions WHERE id = ANY(%s::uuid[])", [report["orders"]]
        ).fetchall()
    assert {identifier for (identifier,) in rows} == {first, *rest}  # committed, without the child's
    _assert_parent_unharmed(report)


@flavours
@pytest.mark.parametrize("cache", ["no cache"])
def test_stream_started_before_fork_belongs_to_parent(
    database_url: str, environment: dict[str, str], flavour: str, cache: str
) -> None:
    report = run_scenario(FLAVOURS[flavour], "in_stream", database_url, environment)
    used = report["child"]["used"]
    assert used.pop("database") is None
    assert used.pop("close") is None
    _assert_misused(used, report["child"]["parent"])
    assert report["complete"]
    _assert_parent_unharmed(report)


def _assert_misused(used: dict[str, list[str] | None], opener: int) -> None:
    """All raised BlockMisuse, which names the process that began it."""
    for name, error in used.items():
        assert error is not None, name
        kind, message, *_ = error
        assert kind == "BlockMisuse", (name, error)
        assert f"process {opener}" in message, (name, error)


@pytest.mark.parametrize("used", ["used", "unused"])
@pytest.mark.parametrize("cache", ["no cache", "local"])
def test_exit_of_child_keeps_sessions_of_parent(
    database_url: str, environment: dict[str, str], used: str, cache: str
) -> None:
    report = run_scenario(FLAVOURS["sync"], "child_ends", database_url, environment, used)
    assert {way: ended["exit_code"] for way, ended in report["ended"].items()} == {
        **dict.fromkeys(WAYS, 0),
        "exception": 1,
        "SIGKILL": -9,
    }
    if (used, cache) != ("used", "local"):  # the thread that listens to Redis keeps an open database
        assert report["ended"]["collect"]["ready"] == "collected"
    assert {way: ended["backends"] for way, ended in report["ended"].items()} == dict.fromkeys(
        WAYS, report["backends_before"]
    )
    _assert_parent_unharmed(report)


@pytest.mark.parametrize("cache", ["no cache", "local"])
def test_sessions_of_killed_parent_end_while_child_lives(
    database_url: str, environment: dict[str, str], cache: str
) -> None:
    report = run_scenario(FLAVOURS["sync"], "parent_is_killed", database_url, environment)
    assert len(report["backends_before"]) == POOL
    assert report["child_lives"]
    assert report["backends_after"] == []
