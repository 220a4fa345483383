"""Every query reads the partitions of its time alone, stops at the partition that fills its page, or says why not.

The plans are generic. Without values for its parameters the server leaves out each partition that the column of the
partitions could decide about, so a scan that is left was not decided by time. Only the statements of sql/*.sql have
plans: what the functions of trades run inside is not seen here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pytest

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.contract._catalog import read_catalog
from nexgent_db.contract._check import check
from nexgent_db.contract._plans import Plan, plan_of, seed, types_sent
from nexgent_db.contract._source import all_sources
from nexgent_db.migrations.partitions import TABLES, Partitioner
from nexgent_db.testing.databases import Databases
from tests.integration.test_partitions import LONG_AGO, psql

_NAMES: Final = "|".join(table.name for table in TABLES)
_READING: Final = sorted(
    each.query.qualified_name
    for each in all_sources(Repository)
    if any(re.search(rf"\b(FROM|JOIN|UPDATE) ({_NAMES})\b", variant.text) for variant in each.variants())
)

BOUNDS: Final = {
    "before", "before_time", "sale_time_from", "sale_time_to", "seen", "since", "time_from", "time_to", "until",
    "version",
}  # fmt: skip
"""The parameters that bound the column of the partitions: a variant with one of them leaves partitions out."""

_OWN_TIME: Final = {"positions.list_with_purchase"}
"""Queries whose ``before_time`` is a position's, not that of the rows in partitions."""

_BY_ID = "ids do not rise with the time: one look at an index of each partition"
_ALL_TIME = "without a bound it asks for rows of all time; with one it prunes"
_LEDGER = "a balance is the sum of all its rows"
_OF_ALL = "a check of every row"
EXCEPTIONS: Final = {
    "balances.list_ledger_differences": _LEDGER,
    "cache.take_changes": "takes from the oldest on; deletes what it took by version, in partitions that empty",
    "checks.balances_equal_their_ledger": _LEDGER,
    "checks.positions_equal_their_transactions": _OF_ALL,
    "checks.requests_name_the_wallet_of_their_transaction": _OF_ALL,
    "checks.swaps_have_no_open_position": _OF_ALL,
    "historical_swaps.count_by_agent": _ALL_TIME,
    "historical_swaps.find_by_id": _BY_ID,
    "historical_swaps.stream_by_agent": _ALL_TIME,
    "historical_swaps.stream_with_signal": _ALL_TIME,
    "historical_swaps.total_by_wallet": "the total of all time",
    "performance.summarise": _ALL_TIME,
    "positions.list_with_purchase": _BY_ID,
    "positions.stream_with_purchase": _BY_ID,
    "trade_requests.list_by_ids": _BY_ID,
    "transactions.count_by_agent": _ALL_TIME,
    "transactions.find_by_id": _BY_ID,
    "transactions.list_by_ids": _BY_ID,
    "transactions.stream_by_agent": _ALL_TIME,
}
"""The queries that read every partition when they are given no bound, and why they may."""

Variants = list[tuple[set[str], set[str], set[str], set[str]]]
"""Of each: its parameters; the tables that it scans while nothing is left out; those that it scans without values; and
those of the latter that it reads to the end."""


@pytest.fixture(scope="module")
def planned(nexgent_databases: Databases, nexgent_template_url: str) -> Iterator[dict[str, Variants]]:
    with nexgent_databases.copy(nexgent_template_url) as url:
        Partitioner(url).apply(first_ends=LONG_AGO)
        with psql(url) as connection:
            seed(connection)
            connection.execute("SET enable_seqscan = off")  # of empty partitions
            found: dict[str, Variants] = {}
            queries = check(connection, all_sources(Repository)).queries
            with connection.transaction():
                catalog = read_catalog(connection)
                for query in queries:
                    of_query = found.setdefault(query.source.query.qualified_name, [])
                    for variant in query.variants:
                        types = types_sent(query.source, variant.statement, variant.parameter_types, catalog)
                        plans = []
                        for pruning in ("off", "on"):
                            connection.execute(f"SET LOCAL enable_partition_pruning = {pruning}".encode())
                            plans.append(plan_of(connection, variant.statement, types)["Plan"])
                        scanned, left = ({table for table, _ in scans(plan)} for plan in plans)
                        whole = {table for table, stops_early in scans(plans[1]) if not stops_early}
                        of_query.append((set(variant.statement.parameters), scanned, left, whole))
            yield found


def scans(plan: Plan, *, stops_early: bool = False) -> Iterator[tuple[str, bool]]:
    """The growing tables that it scans, and whether what is above the scan ends it when it has enough rows.

    The partitions are then in the order of their bounds, as an incremental sort shows, or none is asked for.
    """
    if plan["Node Type"] == "Limit":
        stops_early = True
    elif plan["Node Type"] not in {"Append", "Incremental Sort", "LockRows", "Nested Loop", "Result"}:
        stops_early = stops_early and "Scan" in plan["Node Type"]
    table = next((each.name for each in TABLES if plan.get("Relation Name", "").startswith(each.name)), None)
    if table is not None and "Scan" in plan["Node Type"]:
        yield table, stops_early
    for below in plan.get("Plans", ()):
        inner = below.get("Parent Relationship") == "Inner"
        yield from scans(below, stops_early=stops_early and not inner)


@pytest.mark.parametrize("query", _READING)
def test_query_reads_partitions_of_its_time(planned: dict[str, Variants], query: str) -> None:
    assert any(scanned for _, scanned, _, _ in planned[query])
    bounds = BOUNDS if query not in _OWN_TIME else set()
    for parameters, _, left, whole in planned[query]:
        variant = f"{query}({', '.join(sorted(parameters))})"
        if parameters & bounds:
            assert not left, f"{variant} leaves out no partition of {left}"
        elif query not in EXCEPTIONS:
            assert not whole, f"{variant} reads every partition of {whole}, unexplained"
    if query in EXCEPTIONS:
        assert any(whole for *_, whole in planned[query]), f"{query} needs no exception any more"


def test_every_query_that_scans_partitions_is_tried(planned: dict[str, Variants]) -> None:
    assert [name for name, variants in sorted(planned.items()) if any(each for _, each, _, _ in variants)] == _READING
    assert set(EXCEPTIONS) <= set(_READING)
    assert len(_READING) > 25
