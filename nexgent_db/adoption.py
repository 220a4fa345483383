"""Takes over a database that Prisma made: checks that it is what our history makes, and marks that as applied.

Nothing of Prisma's is read but ``_prisma_migrations``, and nothing of it is changed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from nexgent_db.catalog import Catalog, Difference, differences, read_catalog
from nexgent_db.errors import NexgentError

__all__ = ["LAST_OF_HISTORY", "AdoptionRefused", "prisma_history", "refuse_differences"]

LAST_OF_HISTORY: Final = "20260211120000_add_user_id_to_trading_signals"
"""The last migration that the public system's Prisma knows."""


class AdoptionRefused(NexgentError):
    """The database is not what it would have to be; nothing was changed. ``differences`` has the objects, if any."""

    differences: Sequence[Difference] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    finished: bool
    rolled_back: bool


def prisma_history(conn: psycopg.Connection[Any], history: Sequence[str]) -> list[str]:
    """The names that Prisma has applied here: the first so many of ``history``, in order.

    Of several entries for one migration the last counts: a failed one is superseded by a later success. Raises
    AdoptionRefused, with the names, when there are no entries, when a migration's last entry is failed or rolled
    back, when ``history`` does not know a name, and when one is missing before another.
    """
    row = conn.execute("SELECT to_regclass(quote_ident(current_schema()) || '._prisma_migrations') IS NULL").fetchone()
    if row == (True,):
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
    if unknown := sorted(last.keys() - set(history)):
        raise AdoptionRefused(f"not of the history that this release knows: {', '.join(unknown)}")
    names = list(history[: max(map(list(history).index, last)) + 1])
    if missing := [name for name in names if name not in last]:
        raise AdoptionRefused(f"not applied, but older than {names[-1]}, which is: {', '.join(missing)}")
    return names


def refuse_differences(conn: psycopg.Connection[Any], expected: Catalog, ignore: Collection[str]) -> list[Difference]:
    """The harmless differences that were named in ``ignore``. Raises AdoptionRefused for any other.

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
        refusal = AdoptionRefused(f"{len(left)} differences from what the history makes")
        refusal.differences = left
        raise refusal
    return ignored
