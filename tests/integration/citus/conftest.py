"""A cell on a real Citus: CITUS_URL names the coordinator of at least two workers. Without it, every test is skipped.

The tests of trades, repositories and cache of tests/integration/aio run here as they are, on the cell's node. Their
database is a cell of its own, which is dropped at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nexgent_db.migrations import Cells
from nexgent_db.settings import Settings, with_schema
from tests.integration.aio.conftest import consistent_ledger, db, owner

__all__ = ["consistent_ledger", "db", "owner"]

HERE: Final = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.citus)
            if not os.environ.get("CITUS_URL"):
                item.add_marker(pytest.mark.skip(reason="CITUS_URL names no coordinator of Citus"))


@dataclass(frozen=True)
class CitusCell:
    """A distributed cell."""

    coordinator: str
    name: str

    @property
    def cells(self) -> Cells:
        return Cells(self.coordinator)

    @property
    def node(self) -> str:
        (cell,) = self.cells.statuses([self.name])
        assert cell.node is not None
        return cell.node

    @property
    def url(self) -> str:
        """The cell, over the coordinator."""
        return with_schema(self.coordinator, self.name)

    @property
    def url_of_node(self) -> str:
        """The cell, over its node."""
        return with_schema(at(self.coordinator, self.node), self.name)


def at(url: str, node: str) -> str:
    """The same database of another node of Citus."""
    host, _, port = node.rpartition(":")
    return make_conninfo(url, host=host, port=port)


@pytest.fixture(scope="session")
def coordinator() -> str:
    return Settings.from_url(os.environ["CITUS_URL"]).conninfo


@pytest.fixture(scope="session")
def new_cell(coordinator: str) -> Iterator[Callable[[], CitusCell]]:
    """Makes cells, which are dropped at the end."""
    made = list[str]()

    def new() -> CitusCell:
        made.append(f"t_{uuid4().hex[:10]}")
        Cells(coordinator).create(made[-1])
        return CitusCell(coordinator, made[-1])

    yield new
    for name in set(made) & set(Cells(coordinator).names()):
        Cells(coordinator).drop(name, with_data=True)


@contextmanager
def _own(new_cell: Callable[[], CitusCell]) -> Iterator[str]:
    cell = new_cell()
    yield cell.url_of_node
    cell.cells.drop(cell.name, with_data=True)


@pytest.fixture(scope="session")
def cell(new_cell: Callable[[], CitusCell]) -> CitusCell:
    """A cell shared by the session."""
    return new_cell()


@pytest.fixture(scope="session")
def database_url(cell: CitusCell) -> str:
    """Instead of the migrated database of the other tests: the cell, over its node."""
    return cell.url_of_node


@pytest.fixture(scope="session")
def altering_url(coordinator: str) -> Callable[[str], str]:
    """Instead of the same: only the coordinator alters tables."""
    parts = conninfo_to_dict(coordinator)
    return lambda url: at(url, f"{parts['host']}:{parts['port']}")


@pytest.fixture
def fresh_database_url(new_cell: Callable[[], CitusCell]) -> Iterator[str]:
    """A cell of the test's own, over its node."""
    with _own(new_cell) as url:
        yield url
