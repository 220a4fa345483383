"""Whether a database has the schema of this release: its migrations and no others, with the text that lies here.

Pure, and without yoyo, which takes long to import: a service asks this when it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from nexgent_db._data import data_dir
from nexgent_db._migrating.sql import checksum, read_sql
from nexgent_db.errors import SchemaNotReady
from nexgent_db.models.migrations import AppliedMigration

__all__ = ["refuse_other_schema"]

_NAMED: Final = 5


def refuse_other_schema(applied: Sequence[AppliedMigration]) -> None:
    """Raises SchemaNotReady unless ``applied`` are exactly this release's migrations.

    In order of precedence: the database has others (it is newer, or a file is missing here); files were edited after
    they were applied; migrations are pending. Each names the migrations; ``nexgent-db status`` shows all there is.
    """
    here = _checksums(data_dir("migrations"))
    there = {migration.name: migration.checksum for migration in applied}
    if unknown := sorted(there.keys() - here.keys()):
        newer = unknown[0] > max(here)
        why = "is newer than this release, which" if newer else "has migrations that this release"
        raise SchemaNotReady(f"the database {why} does not know: {_some(unknown)}")
    if edited := sorted(name for name, sum_ in there.items() if sum_ not in (None, here[name])):
        raise SchemaNotReady(f"edited after they were applied: {_some(edited)}; nexgent-db status shows the difference")
    if pending := sorted(here.keys() - there.keys()):
        raise SchemaNotReady(
            f"{len(pending)} of {len(here)} migrations are missing, from {pending[0]} on:"
            " migrate the database first (nexgent-db migrate)"
        )


@cache
def _checksums(directory: Path) -> dict[str, str]:
    """By name, for every migration of the folder."""
    return {
        path.stem: checksum(read_sql(path))
        for path in sorted(directory.glob("*.sql"))
        if not path.name.endswith(".rollback.sql")
    }


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
