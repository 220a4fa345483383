"""Positions in the write-ahead log: what a caller has written or read, as a token, and the highest of a process."""

from __future__ import annotations

import re
import threading
from typing import Final, NamedTuple, Self

from nexgent_db._concurrency import reset_after_fork
from nexgent_db.errors import InvalidInput

_PAGE_BYTES: Final = 8192
_PAGE_HEADERS: Final = (24, 40)
"""The sizes of a WAL page's header: the second one is that of a segment's first page."""
_MAX_VERSION: Final = 2**63 - 1
_TOKEN: Final = re.compile(r"([0-9]{1,10})\.([0-9a-f]{1,16})")


class WalPosition(NamedTuple):
    """A position in the log of one timeline; a later timeline is later, whatever the position in it."""

    timeline: int
    lsn: int

    @classmethod
    def of_token(cls, token: str, field: str) -> Self:
        """The position of a token. Raises InvalidInput for text that is none."""
        found = _TOKEN.fullmatch(token) if isinstance(token, str) else None
        if found is None:
            raise InvalidInput(field, "a token of wal_position() is expected, such as '1.3000148', or a version")
        return cls(int(found[1]), int(found[2], 16))

    @classmethod
    def of_primary(cls, answer: str) -> Self:
        """The answer of a primary, ``0/3000148 00000001``: where it inserts, and its timeline.

        At the start of a page the next record comes after the page's header, which no standby replays by itself.
        """
        lsn, _, timeline = answer.partition(" ")
        number = lsn_of(lsn)
        header = number % _PAGE_BYTES
        return cls(int(timeline, 16), number - header if header in _PAGE_HEADERS else number)

    @property
    def token(self) -> str:
        """The text that a service can hand on, of the characters ``0-9a-f.``."""
        return f"{self.timeline}.{self.lsn:x}"


NOWHERE: Final = WalPosition(0, 0)
"""Before everything: any replica has it."""


def lsn_of(text: str) -> int:
    """PostgreSQL's ``0/3000148`` as a number."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(lsn: int) -> str:
    """The number as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


class _Guard:
    """The lock of all marks, which are made for single requests too."""

    def __init__(self) -> None:
        self.reset_after_fork()
        reset_after_fork(self)

    def reset_after_fork(self) -> None:
        """In the child: a thread of the parent may have held the lock."""
        self.lock = threading.Lock()


_GUARD: Final = _Guard()


class HighWaterMark:
    """The latest position that a caller has written or read. Safe to share between threads."""

    __slots__ = ("_on_replica", "_seen_anywhere", "_shown", "position", "unknown")

    def __init__(self, position: WalPosition = NOWHERE) -> None:
        self.position = position
        self.unknown = False
        """Is a position not known: of a call on the primary that it did not arrive for, or of a version?"""
        self._seen_anywhere = False
        self._on_replica = position  # a token may be of what a replica has shown
        self._shown = NOWHERE

    @classmethod
    def of(cls, at_least: str | int, field: str) -> Self:
        """Of a token, or of the version of a row that the caller has seen, on any server or in the cache.

        The position of a version is unknown: the log does not say it, and versions are given before they are committed,
        in another order. So the primary is asked where it is by now. Raises InvalidInput for what is neither.
        """
        if isinstance(at_least, bool) or (isinstance(at_least, int) and not 0 < at_least <= _MAX_VERSION):
            raise InvalidInput(field, f"the version of a row is expected, from 1 to {_MAX_VERSION}")
        position = NOWHERE if isinstance(at_least, int) else WalPosition.of_token(at_least, field)
        mark = cls(position)
        mark.unknown = mark._seen_anywhere = position == NOWHERE
        return mark

    @property
    def token(self) -> str:
        """The position's token. That of nowhere stands for what is not known: its reader asks the primary."""
        return NOWHERE.token if self.unknown else self.position.token

    def located(self, position: WalPosition) -> None:
        """Note where the primary was, asked for what is unknown."""
        self.raise_to(position, on_replica=self._seen_anywhere)

    def raise_to(self, position: WalPosition, *, on_replica: bool = False) -> None:
        """Note a position, and whether a replica has shown it; an earlier one changes nothing."""
        if position > self.position or (on_replica and position > self._on_replica):
            with _GUARD.lock:
                self.position = max(self.position, position)
                if on_replica:
                    self._on_replica = max(self._on_replica, position)

    @property
    def unconfirmed(self) -> WalPosition | None:
        """What a replica has shown, while it is not known that the primary shows it: a commit is streamed before it
        becomes visible on the primary. None when that is known."""
        return self._on_replica if self._on_replica > self._shown else None

    def confirm(self, position: WalPosition) -> None:
        """Note that the primary shows everything up to this position."""
        with _GUARD.lock:
            self._shown = max(self._shown, position)
