"""A short run of the outages that ``make chaos`` prints. Their targets: docs/pages/reference/outages.md."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.outages import Options, run_row
from tests.chaos.outages.rows import Row, rows
from tests.chaos.outages.table import documented, line_of
from tests.chaos.outages.verdict import Verdict
from tests.support.servers.postgres_process import migrated_cluster

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "pages" / "reference" / "outages.md"
ROWS: Final = rows(short=True)
AT_ONCE: Final = 3
"""Rows that run at the same time, each with servers of its own: most of what they do is to wait."""


@pytest.fixture(scope="module")
def options() -> Options:
    return Options.short(random.randrange(2**32), alone=False)


@pytest.fixture(scope="module")
def verdicts(options: Options) -> Iterator[dict[str, Future[list[Verdict]]]]:
    with migrated_cluster() as cluster, ThreadPoolExecutor(AT_ONCE) as pool:
        longest_first = sorted(ROWS, key=lambda row: -row.lasts_s)
        yield {row.name: pool.submit(run_row, row, cluster, options) for row in longest_first if not row.why_not()}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_outage_breaks_no_guarantee(row: Row, options: Options, verdicts: dict[str, Future[list[Verdict]]]) -> None:
    if reason := row.why_not():
        pytest.skip(reason)
    found = verdicts[row.name].result()
    print(f"seed {options.seed}", *(line_of(verdict) for verdict in found), sep="\n")
    assert [f"{verdict.flavour}: {fault}" for verdict in found for fault in verdict.faults] == []


def test_page_has_targets_of_every_row() -> None:
    page = PAGE.read_text()
    for line in documented(rows(short=False)):
        assert line in page, f"docs/pages/reference/outages.md lacks: {line}"
