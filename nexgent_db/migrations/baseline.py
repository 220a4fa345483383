"""The baseline of a database that Prisma made: its schema must be what the legacy migrations make.

Of Prisma's tables only ``_prisma_migrations`` is read; none is changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from nexgent_db.errors import NexgentError
from nexgent_db.schema.catalog import Catalog
from nexgent_db.schema.diff import Difference, differences
from nexgent_db.schema.introspect import read_catalog

__all__ = [
    "AdoptionRefused",
    "adoption_note",
    "ensure_no_differences",
    "ignored_at_adoption",
    "is_of_prisma",
    "prisma_migrations",
]


class AdoptionRefused(NexgentError):
    """The database does not have the expected schema; nothing was changed. ``differences`` has the objects, if any."""

    differences: Sequence[Difference] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    finished: bool
    rolled_back: bool


def is_of_prisma(conn: psycopg.Connection[Any]) -> bool:
    """Has Prisma a history in the current schema?"""
    row = conn.execute(
        "SELECT to_regclass(quote_ident(current_schema()) || '._prisma_migrations') IS NOT NULL"
    ).fetchone()
    return row == (True,)


def prisma_migrations(conn: psycopg.Connection[Any], legacy: Sequence[str]) -> list[str]:
    """The migrations that Prisma has applied here: the first ones of ``legacy``, in order.

    Of several entries for one migration the last counts: a failed one is superseded by a later success. Raises
    AdoptionRefused, with the names, when there are no entries, when a migration's last entry is failed or rolled
    back, when ``legacy`` does not know a name, and when one is missing before another.
    """
    if not is_of_prisma(conn):
        raise AdoptionRefused("there is no _prisma_migrations here: Prisma did not make this schema")
    last = {
        name: _Entry(name, finished, rolled_back)
        for name, finished, rolled_back in conn.execute(
            "SELECT migration_name, finished_at IS NOT NULL, rolled_back_at IS NOT NULL"
            " FROM _prisma_migrations ORDER BY started_at, finished_at NULLS FIRST, id"
        )
    }
    if not last:
        raise AdoptionRefused("_prisma_migrations is empty: there is nothing to adopt")
    if rolled_back := [entry.name for entry in last.values() if entry.rolled_back]:
        raise AdoptionRefused(f"rolled back in Prisma and not applied again: {', '.join(sorted(rolled_back))}")
    if failed := [entry.name for entry in last.values() if not entry.finished]:
        raise AdoptionRefused(
            f"failed or not finished in Prisma: {', '.join(sorted(failed))}; see prisma migrate resolve"
        )
    if unknown := sorted(last.keys() - set(legacy)):
        raise AdoptionRefused(
            f"not legacy migrations that this release knows: {', '.join(unknown)}. If one is your own: undo what it"
            " changed, delete its row in _prisma_migrations, adopt, which shows what still differs, migrate, and make"
            " what you need of it again, by migrations of your project"
        )
    names = list(legacy[: max(map(list(legacy).index, last)) + 1])
    if missing := [name for name in names if name not in last]:
        raise AdoptionRefused(f"not applied, but older than {names[-1]}, which is: {', '.join(missing)}")
    return names


def ensure_no_differences(
    conn: psycopg.Connection[Any], expected: Catalog, ignore: Collection[str]
) -> list[Difference]:
    """The harmless differences named in ``ignore``. Raises AdoptionRefused for any other difference.

    Also raises it for a name in ``ignore`` that no difference has, or that is not harmless.
    """
    found = differences(expected, read_catalog(conn))
    if unknown := sorted(set(ignore) - {each.name for each in found}):
        raise AdoptionRefused(f"nothing to ignore is called {', '.join(unknown)}")
    ignored = [each for each in found if each.name in ignore]
    if harmful := [each for each in ignored if not each.harmless]:
        refusal = AdoptionRefused(f"cannot be ignored: {', '.join(map(str, harmful))}")
        refusal.differences = harmful
        raise refusal
    if left := [each for each in found if each.name not in ignore]:
        refusal = AdoptionRefused(f"{len(left)} differences from what the legacy migrations make")
        refusal.differences = left
        raise refusal
    return ignored


_IGNORED: Final = re.compile(r"adopted from Prisma; ignored (.*?): ", re.DOTALL)


def adoption_note(ignored: Sequence[str], reason: str) -> str:
    """The note of an adoption in the history table."""
    return "adopted from Prisma" + (f"; ignored {', '.join(ignored)}: {reason.strip()}" if ignored else "")


def ignored_at_adoption(conn: psycopg.Connection[Any]) -> set[str]:
    """The names of the differences that the adoption of this database ignored, as its history table says."""
    row = conn.execute("SELECT to_regclass('_nexgent_migration') IS NULL").fetchone()
    if row == (True,):  # plain yoyo made the history table
        return set()
    notes = conn.execute("SELECT DISTINCT note FROM _nexgent_migration WHERE origin = 'adopted' AND note IS NOT NULL")
    found = (_IGNORED.match(note) for (note,) in notes)
    return {name for match in found if match is not None for name in match[1].split(", ")}
