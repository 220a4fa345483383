"""Writes the files of a new migration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from nexgent_db.errors import InvalidInput, MigrationError

__all__ = ["write_new"]

_LONGEST: Final = 80
_INSTALLED: Final = {"site-packages", "dist-packages"}
_ID: Final = "%Y%m%d%H%M%S"
_UP: Final = """\
-- Why:
-- Locks:
-- Rollback loses:

"""
_DOWN: Final = "-- Undoes {name}.\n\n"


def write_new(directory: Path, name: str, now: datetime) -> tuple[Path, Path]:
    """Writes the two files of a new migration, with an id later than all others: ``now``, or a second after the last.

    Raises InvalidInput for an invalid name, or one that a migration of the folder has; MigrationError when the folder
    is missing or part of an installed package, the files exist already, or the last id is not a time, so that no later
    one can be made.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or len(name) > _LONGEST:
        raise InvalidInput(
            "name", f"lower-case letters and digits with single underscores, at most {_LONGEST} characters"
        )
    if not directory.is_dir():
        raise MigrationError(f"the migrations folder {directory} does not exist")
    if not _INSTALLED.isdisjoint(directory.resolve().parts):
        raise MigrationError(
            f"{directory} is part of an installed package: write into a folder of your own, which --directory or"
            " 'migrations' in [tool.nexgent-db] of your pyproject.toml names"
        )
    others = sorted(path.stem for path in directory.glob("*.sql") if not path.name.endswith(".rollback.sql"))
    if taken := [other for other in others if other.partition("_")[2] == name]:
        raise InvalidInput("name", f"{taken[0]} has it")
    id_ = f"{_later_than(others, now)}_{name}"
    up, down = directory / f"{id_}.sql", directory / f"{id_}.rollback.sql"
    try:
        for path, text in ((up, _UP), (down, _DOWN.format(name=id_))):
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
    except OSError as error:
        raise MigrationError(f"{path}: cannot be written: {error.strerror}") from None
    return up, down


def _later_than(others: Sequence[str], now: datetime) -> str:
    mine = now.strftime(_ID)
    last = others[-1].partition("_")[0] if others else ""
    if last < mine:
        return mine
    try:
        return (datetime.strptime(last, _ID) + timedelta(seconds=1)).strftime(_ID)  # noqa: DTZ007
    except (ValueError, OverflowError):
        raise MigrationError(f"{others[-1]} does not begin with a time: a later id cannot be made") from None
