"""Puts one difference into a cache that equals the database: a comparison must find exactly this one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from uuid import UUID

import redis

Change = Callable[[str], str]

NOBODY: Final = UUID(int=7)
_ROW: Final = "(position|balance):.+"
_VERSION: Final = re.compile('"version":([0-9]+)')
_SUFFIXES: Final = (":fence", ":load_lease", ":complete")


def _other_version(by: int) -> Change:
    return lambda text: _VERSION.sub(lambda found: f'"version":{int(found[1]) + by}', text, count=1)


def _orphan(name: str) -> str:
    """The key of a row that does not exist, beside one that does."""
    return f"{name}x" if name.startswith("balance:") else re.sub(":[^:]+", f":{NOBODY}", name, count=1)


_MISMATCHES: Final[tuple[tuple[str, str, Change], ...]] = (
    ("stale", f"{_ROW}|config:.+", _other_version(-1)),
    ("newer_than_database", f"{_ROW}|config:.+", _other_version(1)),
    ("unreadable", _ROW, lambda text: text[:-1]),
    ("content_mismatch", _ROW, lambda text: text.replace('"tokenSymbol":"', '"tokenSymbol":"$')),
    ("content_mismatch", "config:.+", lambda text: re.sub(r"(\}?)$", r',"unheardOf":1\1', text, count=1)),
    ("content_mismatch", "agent:[^:]+:trading_mode", lambda text: "paper"),
    ("content_mismatch", "agent:[^:]+:automated_trading:.+", lambda text: "1" if text == "0" else "0"),
    ("orphan", f"{_ROW}|config:.+", lambda text: text),
)


def alter(client: redis.Redis, prefix: str, pick: int) -> list[tuple[str, str]]:
    """Alters the entry that ``pick`` chooses; the kind and key of the difference, or nothing without an entry.

    ``client`` decodes its answers.
    """
    names = sorted(key.removeprefix(prefix) for key in client.scan_iter(f"{prefix}*", count=1000))
    entry, choice = divmod(pick, len(_MISMATCHES) + 2)
    if choice >= len(_MISMATCHES):
        sets = [prefix + name.removesuffix(":complete") for name in names if name.endswith(":complete")]
        return _move(client, sets, entry, 1 if choice % 2 else -1)
    kind, wanted, change = _MISMATCHES[choice]
    rows = [name for name in names if re.fullmatch(wanted, name) and not name.endswith(_SUFFIXES)]
    if not rows:
        return []
    name = rows[entry % len(rows)]
    altered = _orphan(name) if kind == "orphan" else name
    client.set(prefix + altered, change(str(client.get(prefix + name))))
    return [(kind, prefix + re.sub("^agent:([^:]+):.+", r"config:\1", altered))]


def _move(client: redis.Redis, sets: list[str], entry: int, by: int) -> list[tuple[str, str]]:
    """A member too many in a complete set, or one too few."""
    sizes = {key: int(str(client.get(f"{key}:complete")).split(" ", 1)[0]) for key in sets}
    sets = [key for key in sets if sizes[key] + by >= 0]
    if not sets:
        return []
    key = sets[entry % len(sets)]
    whose = str(client.get(f"{key}:complete")).split(" ", 1)[1]
    if by > 0:
        client.sadd(key, str(NOBODY))
    else:
        client.spop(key)
    client.set(f"{key}:complete", f"{sizes[key] + by} {whose}")
    return [("membership_mismatch", key)]
