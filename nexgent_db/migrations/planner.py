"""Compares the folders with the history tables and decides what to apply or to roll back. Pure.

Each folder is compared with its own history; histories without a folder belong to other services.

Every contradiction between the two is a :class:`HistoryProblem`, and stops the run.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from nexgent_db.errors import MigrationError
from nexgent_db.migrations.files import Migration, history_of
from nexgent_db.migrations.history import Applied, MigrationHistory

__all__ = ["HistoryProblem", "Kind", "ensure_forgettable", "problems", "to_apply", "to_rollback", "unrecorded"]

Kind = Literal["edited", "renamed", "missing", "out_of_order"]

_DIFF_LINES: Final = 200


@dataclass(frozen=True, slots=True)
class HistoryProblem:
    """One contradiction between the folder and the history tables.

    ``edited``: the file differs from the applied text, ``details`` has the unified diff. ``renamed``: the same text
    under ``new_name``. ``missing``: applied, but the folder does not have it. ``out_of_order``: not applied, but older
    than the newest one that is.
    """

    kind: Kind
    name: str
    text: str
    details: str = ""
    new_name: str | None = None


def problems(folder: Sequence[Migration], history: MigrationHistory) -> list[HistoryProblem]:
    """Every contradiction, history by history: first those of applied migrations, in the order of application, then
    those out of order."""
    names = dict.fromkeys(m.history for m in folder)
    return [found for name in names for found in _problems([m for m in folder if m.history == name], history)]


def _problems(folder: Sequence[Migration], history: MigrationHistory) -> list[HistoryProblem]:
    """Those of one history."""
    by_hash = {m.hash: m for m in folder}
    pending = {m.id: m for m in folder if m.hash not in history.applied}
    found = list[HistoryProblem]()
    renamed = set[str]()
    for mark in history.applied.values():
        if history_of(mark.name) != folder[0].history:
            continue
        if (migration := by_hash.get(mark.hash)) is None:
            new = next((m for m in pending.values() if m.checksum == mark.checksum), None)
            if new is None:
                found.append(_missing(mark, folder))
            else:
                del pending[new.id]
                renamed.add(new.id)
                text = f"{mark.name}: is now called {new.id}, with the same content"
                found.append(HistoryProblem("renamed", mark.name, text, new_name=new.id))
        elif mark.checksum is not None and mark.checksum != migration.checksum:
            text = f"{migration.up.path}: was edited after it was applied at {mark.at:%Y-%m-%d %H:%M:%S} UTC"
            found.append(HistoryProblem("edited", mark.name, text, _diff(mark, migration)))
    newest = max((i for i, m in enumerate(folder) if m.hash in history.applied or m.id in renamed), default=-1)
    found += [
        HistoryProblem("out_of_order", m.id, f"{m.id}: not applied, but older than {folder[newest].id}, which is")
        for m in folder[: max(newest, 0)]
        if m.id in pending and m.id not in history.accepted_out_of_order
    ]
    return found


def _missing(mark: Applied, folder: Sequence[Migration]) -> HistoryProblem:
    newer = all(mark.name > m.id for m in folder)
    why = "the database is newer than this release" if newer else "its file was removed, or renamed and edited"
    text = f"{mark.name}: the database has it, {folder[0].up.path.parent} does not: {why}"
    return HistoryProblem("missing", mark.name, text)


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


def unrecorded(folder: Sequence[Migration], history: MigrationHistory) -> list[Migration]:
    """The applied migrations whose text is not recorded."""
    return [m for m in folder if m.hash in history.applied and history.applied[m.hash].checksum is None]


def to_apply(
    folder: Sequence[Migration], history: MigrationHistory, to: str | None, only: Collection[str] | None = None
) -> list[Migration]:
    """The pending migrations, up to and including ``to``, of all or of ``only`` these. Raises MigrationError for a
    problem or an unknown ``to``."""
    _ensure_no_problems(problems(folder, history))
    last = len(folder) - 1 if to is None else _position(folder, to)
    return [m for m in folder[: last + 1] if m.hash not in history.applied and (only is None or m.id in only)]


def to_rollback(
    folder: Sequence[Migration],
    history: MigrationHistory,
    count: int | None,
    to: str | None,
    only: str | None = None,
) -> list[Migration]:
    """The migrations to roll back, newest first, of all histories or of ``only`` one. One out of order does not stop
    this: rolling back may make room for it.

    Raises MigrationError for other problems, an unknown history or target, too large a count, an irreversible
    migration, or one that an applied migration depends on.
    """
    _ensure_no_problems([p for p in problems(folder, history) if p.kind != "out_of_order"])
    if only is not None and only not in (names := {m.history for m in folder}):
        raise MigrationError(f"no history is called {only!r}: there is {', '.join(sorted(names))}")
    done = _newest_first([m for m in folder if m.hash in history.applied and only in (None, m.history)], history)
    if to is not None:
        target = folder[_position(folder, to)]
        if target not in done:
            where = "" if target.hash not in history.applied else f" in {only}"
            raise MigrationError(f"cannot roll back to {to}: it is not applied{where}")
        todo = done[: done.index(target)]
    else:
        count = 1 if count is None else count
        if count > len(done):
            raise MigrationError(f"cannot roll back {count}: {len(done)} applied")
        todo = done[:count]
    undone = set[str]()
    for migration in todo:
        if migration.down is None:
            raise MigrationError(f"{migration.up.path}: cannot be rolled back: {migration.irreversible}")
        needed_by = [
            m.id for m in folder if migration in m._depends and m.hash in history.applied and m.id not in undone
        ]
        if needed_by:
            raise MigrationError(f"{migration.id}: cannot be rolled back: {', '.join(needed_by)} depends on it")
        undone.add(migration.id)
    return todo


def _newest_first(done: Sequence[Migration], history: MigrationHistory) -> list[Migration]:
    """Each history from the end of its folder; of several histories, the one whose last was applied later."""
    left: dict[str, list[tuple[datetime, int, Migration]]] = {}
    for place, m in enumerate(done):
        left.setdefault(m.history, []).append((history.applied[m.hash].at, place, m))
    found = list[Migration]()
    while any(left.values()):
        last = max((each[-1] for each in left.values() if each), key=lambda item: item[:2])
        found.append(left[last[2].history].pop()[2])
    return found


_ADVICE: Final = {
    "edited": "restore the file and put the change into a migration of its own",
    "renamed": "give it its old name back",
    "missing": "use the release that it belongs to",
    "out_of_order": "give it a later name, or roll back to before it",
}


def _ensure_no_problems(found: Sequence[HistoryProblem]) -> None:
    if not found:
        return
    advice = [text for kind, text in _ADVICE.items() if any(p.kind == kind for p in found)]
    error = MigrationError(
        f"{'; '.join(p.text for p in found)}: {'; '.join(advice)};"
        " or accept the folder as it is: nexgent-db repair --reason '…'"
    )
    error.explanation = "\n".join(p.details for p in found if p.details)
    raise error


def _position(folder: Sequence[Migration], name: str) -> int:
    for names in ([m.id for m in folder], [m.up.path.stem for m in folder]):  # a service's also without its history
        if name in names:
            return names.index(name)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise MigrationError(f"no migration is called {name!r}{hint}")


def ensure_forgettable(found: Sequence[HistoryProblem], folder: Sequence[Migration], forget: Collection[str]) -> None:
    """Raises MigrationError for a missing migration that is newer than the folder and not in ``forget``, and for a name
    in ``forget`` that is not missing."""
    missing = {p.name for p in found if p.kind == "missing"}
    newest = {m.history: max(each.id for each in folder if each.history == m.history) for m in folder}
    if newer := sorted(name for name in missing if name > newest[history_of(name)] and name not in forget):
        raise MigrationError(
            f"the database is probably newer than this release: it has {', '.join(newer)}. To forget that all the"
            f" same, name each: --forget {newer[0]}"
        )
    if strangers := sorted(set(forget) - missing):
        raise MigrationError(f"cannot forget {', '.join(strangers)}: the database does not have it, or the folder does")
