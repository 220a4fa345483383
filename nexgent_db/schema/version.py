"""Checks that a database has the schema of this release: its migrations and no others, with the installed text.

Pure, and without yoyo, which takes long to import: a service checks this when it starts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from nexgent_db.errors import SchemaNotReady
from nexgent_db.models.migrations import AppliedMigration
from nexgent_db.resources import data_dir
from nexgent_db.schema.migration_text import checksum, read_sql

__all__ = ["ensure_release_schema", "naming_migration"]

_NAMED: Final = 5
_UNDEFINED_FUNCTION: Final = "42883"
_NAME_AND_BRACKET: Final = re.compile(r"(\w+)\(")


def ensure_release_schema(
    applied: Sequence[AppliedMigration],
    migrations: Mapping[str, Path] = MappingProxyType({}),
    *,
    may_be_newer: bool = False,
) -> None:
    """Raises SchemaNotReady unless ``applied`` are exactly this release's migrations, and those of a service's folders,
    which are given by the names of their histories. Those of other histories are left alone.

    Reasons, history by history, in order of precedence: the database has other migrations (it is newer, or a file is
    missing here); files were edited after they were applied; migrations are pending. The message names the migrations;
    ``nexgent-db status`` shows all of them. With ``may_be_newer`` only pending migrations are a reason: while releases
    roll, processes of the one before still serve.
    """
    histories: dict[str, dict[str, str | None]] = {}
    for migration in applied:
        history, _, name = migration.name.rpartition("/")
        histories.setdefault(history, {})[name] = migration.checksum
    _ensure_equal(_package_checksums(), histories.get("", {}), may_be_newer=may_be_newer)
    for history, folder in migrations.items():
        try:
            if not (here := _checksums(folder)):
                raise SchemaNotReady(f"there is no migration in {folder}")
            _ensure_equal(here, histories.get(history, {}), may_be_newer=may_be_newer)
        except SchemaNotReady as error:
            raise SchemaNotReady(f"{history}: {error}") from None


def _ensure_equal(here: Mapping[str, str], there: Mapping[str, str | None], *, may_be_newer: bool) -> None:
    unknown = sorted(there.keys() - here.keys())
    if unknown and not may_be_newer:
        newer = unknown[0] > max(here)
        why = "is newer than this release, which" if newer else "has migrations that this release"
        raise SchemaNotReady(f"the database {why} does not know: {_some(unknown)}")
    edited = sorted(name for name in here.keys() & there.keys() if there[name] not in (None, here[name]))
    if edited and not may_be_newer:
        raise SchemaNotReady(f"edited after they were applied: {_some(edited)}; nexgent-db status shows the difference")
    if pending := sorted(here.keys() - there.keys()):
        raise SchemaNotReady(
            f"{len(pending)} of {len(here)} migrations are missing, from {pending[0]} on:"
            " migrate the database first (nexgent-db migrate)"
        )


def naming_migration(error: SchemaNotReady) -> SchemaNotReady:
    """The error, naming the migration of the function that is missing; the error itself when it is none of ours."""
    if error.sqlstate != _UNDEFINED_FUNCTION:
        return error
    names = _NAME_AND_BRACKET.findall(str(error))  # the message around the function's name is in any language
    for path in sorted(data_dir("migrations").glob("*.sql")):
        text = read_sql(path)
        for name in names:
            if f"CREATE FUNCTION {name}(" in text:
                named = SchemaNotReady(f"function {name} is missing, or another version: apply migration {path.stem}")
                named.sqlstate = error.sqlstate
                return named
    return error


@cache
def _package_checksums() -> dict[str, str]:
    return _checksums(data_dir("migrations"))


def _checksums(directory: Path) -> dict[str, str]:
    """The checksum of every migration of the folder, by name."""
    return {
        path.stem: checksum(read_sql(path))
        for path in sorted(directory.glob("*.sql"))
        if not path.name.endswith(".rollback.sql")
    }


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
