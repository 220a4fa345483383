"""A database with cells: schemas that each have all migrations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg import sql

from nexgent_db.migrations import Cells
from nexgent_db.migrations.cells import MARK
from nexgent_db.testing.databases import Databases


@dataclass(frozen=True)
class CelledDatabase:
    """A migrated database and the names of its cells; ``url`` is the superuser's."""

    url: str
    cells: tuple[str, ...]


def make_empty_cells(url: str, names: Sequence[str]) -> None:
    """Cells without migrations, as a `cells create` leaves them that is killed in between."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(name), MARK))


@contextmanager
def celled_copy(databases: Databases, template_url: str, count: int) -> Iterator[CelledDatabase]:
    """A copy of the template with this many cells, cell_1 and so on."""
    names = [f"cell_{number}" for number in range(1, count + 1)]
    with databases.copy(template_url) as url:
        make_empty_cells(url, names)
        failed = [each for each in Cells(url, jobs=2).migrate() if each.error is not None]
        assert failed == []
        yield CelledDatabase(url, tuple(names))
