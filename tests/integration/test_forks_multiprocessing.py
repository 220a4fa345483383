"""multiprocessing with each start method: forked children use the module's database, others open their own."""

from __future__ import annotations

import multiprocessing

import psycopg
import pytest

from tests.support.faults.forking import run_scenario
from tests.support.servers.process_database import CHILDREN, POOL
from tests.support.servers.valkey_server import ValkeyServer


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
@pytest.mark.parametrize("cache", ["no cache", "local"])
def test_children_of_each_start_method_work_beside_parent(
    database_url: str, request: pytest.FixtureRequest, method: str, cache: str
) -> None:
    environment = {"NEXGENT_DB_POOL_MIN_SIZE": str(POOL), "NEXGENT_DB_POOL_MAX_SIZE": str(POOL)}
    if cache == "local":
        server: ValkeyServer = request.getfixturevalue("server")
        environment |= {"REDIS_URL": server.url, "NEXGENT_DB_LOCAL_CACHE_ROWS": "100"}
    report = run_scenario("tests.support.servers.process_database", method, database_url, environment)
    children = report["children"]
    assert len({child["pid"] for child in children}) == (2 * CHILDREN if method == "fork" else CHILDREN)
    assert {child["inherited"] for child in children} == {method == "fork"}
    for work in (report["parent"], *children):
        assert (work["wrong"], work["failed"], work["stuck"]) == (0, {}, 0), work["examples"]
        assert (work["hits"] > 0) is (cache == "local")
        with psycopg.connect(database_url) as connection:
            rows = connection.execute(
                "SELECT id::text FROM agent_transactions WHERE wallet_address = %s", [work["wallet"]]
            )
            assert set(work["acknowledged"]) <= {identifier for (identifier,) in rows}
        assert work["acknowledged"]
    assert report["backends_after"] == report["backends_before"]  # the parent's live on, the children's are gone
    assert len(report["backends_before"]) == POOL
    _assert_not_pickled(report["pickled"]["sync"])
    _assert_not_pickled(report["pickled"]["async"])
    if method == "fork":
        assert report["argument"] == ["started", "0"]
    else:
        _assert_not_pickled(report["argument"])


def _assert_not_pickled(error: list[str]) -> None:
    assert error[0] == "BlockMisuse"
    assert error[1].startswith("a database cannot be pickled: open one in each process")
