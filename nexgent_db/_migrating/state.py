"""Compares the folder with the books and decides what is to be applied, or undone. Pure.

Whatever would build on something else than what was written down is a :class:`Problem`, and is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from nexgent_db._migrating.books import Applied, Books
from nexgent_db._migrating.files import Migration
from nexgent_db.errors import MigrationError

__all__ = ["Kind", "Problem", "problems", "to_apply", "to_rollback", "unrecorded"]

Kind = Literal["edited", "renamed", "missing", "late"]

_DIFF_LINES: Final = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """Where the folder and the database contradict each other.

    ``edited``: the file is not what was applied, ``details`` has the unified diff. ``renamed``: the same text under
    ``new_name``. ``missing``: applied, but the folder does not have it. ``late``: not applied, but older than the
    newest one that is.
    """

    kind: Kind
    name: str
    text: str
    details: str = ""
    new_name: str | None = None


def problems(folder: Sequence[Migration], books: Books) -> list[Problem]:
    """Every contradiction: first about what is applied, in the order of application, then the latecomers."""
    by_hash = {m.hash: m for m in folder}
    pending = {m.id: m for m in folder if m.hash not in books.applied}
    found = list[Problem]()
    renamed = set[str]()
    for mark in books.applied.values():
        if (migration := by_hash.get(mark.hash)) is None:
            new = next((m for m in pending.values() if m.checksum == mark.checksum), None)
            if new is None:
                found.append(_missing(mark, folder))
            else:
                del pending[new.id]
                renamed.add(new.id)
                text = f"{mark.name}: is now called {new.id}, with the same content"
                found.append(Problem("renamed", mark.name, text, new_name=new.id))
        elif mark.checksum is not None and mark.checksum != migration.checksum:
            text = f"{migration.up.path}: was edited after it was applied at {mark.at:%Y-%m-%d %H:%M:%S} UTC"
            found.append(Problem("edited", mark.name, text, _diff(mark, migration)))
    newest = max((i for i, m in enumerate(folder) if m.hash in books.applied or m.id in renamed), default=-1)
    found += [
        Problem("late", m.id, f"{m.id}: not applied, but older than {folder[newest].id}, which is")
        for m in folder[: max(newest, 0)]
        if m.id in pending and m.id not in books.accepted_late
    ]
    return found


def _missing(mark: Applied, folder: Sequence[Migration]) -> Problem:
    newer = all(mark.name > m.id for m in folder)
    why = "the database is newer than this release" if newer else "its file was removed, or renamed and edited"
    text = f"{mark.name}: the database has it, {folder[0].up.path.parent} does not: {why}"
    return Problem("missing", mark.name, text)


def _diff(mark: Applied, migration: Migration) -> str:
    lines = list(
        difflib.unified_diff(
            (mark.content or "").splitlines(),
            migration.up.text.splitlines(),
            f"{mark.name}.sql, as applied",
            str(migration.up.path),
            lineterm="",
        )
    )
    if not lines:
        lines = ["(they differ in the ends of lines, or at the end of the file)"]
    if len(lines) > _DIFF_LINES:
        lines[_DIFF_LINES:] = [f"… {len(lines) - _DIFF_LINES} lines more"]
    return "\n".join(lines)


def unrecorded(folder: Sequence[Migration], books: Books) -> list[Migration]:
    """The applied migrations of which nobody recorded the text."""
    return [m for m in folder if m.hash in books.applied and books.applied[m.hash].checksum is None]


def to_apply(folder: Sequence[Migration], books: Books, to: str | None) -> list[Migration]:
    """What is pending, up to and including ``to``. Raises MigrationError for any problem, or an unknown ``to``."""
    _refuse(problems(folder, books))
    last = len(folder) - 1 if to is None else _position(folder, to)
    return [m for m in folder[: last + 1] if m.hash not in books.applied]


def to_rollback(folder: Sequence[Migration], books: Books, count: int | None, to: str | None) -> list[Migration]:
    """What to undo, newest first. A latecomer is no obstacle: rolling back may be the way to let it in.

    Raises MigrationError for other problems, an unknown target, too large a count, or an irreversible migration.
    """
    _refuse([p for p in problems(folder, books) if p.kind != "late"])
    done = [m for m in folder if m.hash in books.applied]
    if to is not None:
        target = folder[_position(folder, to)]
        if target.hash not in books.applied:
            raise MigrationError(f"cannot roll back to {to}: it is not applied")
        todo = done[done.index(target) + 1 :][::-1]
    else:
        count = 1 if count is None else count
        if count > len(done):
            raise MigrationError(f"cannot roll back {count}: {len(done)} applied")
        todo = done[::-1][:count]
    for migration in todo:
        if migration.down is None:
            raise MigrationError(f"{migration.up.path}: cannot be rolled back: {migration.irreversible}")
    return todo


_ADVICE: Final = {
    "edited": "restore the file and put the change into a migration of its own",
    "renamed": "give it its old name back",
    "missing": "use the release that it belongs to",
    "late": "give it a later name, or roll back to before it",
}


def _refuse(found: Sequence[Problem]) -> None:
    if not found:
        return
    advice = [text for kind, text in _ADVICE.items() if any(p.kind == kind for p in found)]
    error = MigrationError(
        f"{'; '.join(p.text for p in found)}: {'; '.join(advice)};"
        " or accept the folder as it is: nexgent-db repair --reason '…'"
    )
    error.details = "\n".join(p.details for p in found if p.details)
    raise error


def _position(folder: Sequence[Migration], name: str) -> int:
    names = [m.id for m in folder]
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise MigrationError(f"no migration is called {name!r}{hint}")
