"""What Redis answered not long ago, kept in this process until it may have changed. Pure; safe between threads."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock


class NearRows:
    """Answers of MGET, each whole and of one epoch: the keys of one answer are as they were at one moment together.

    An answer is only kept when nothing of it changed between the asking and now: whoever asks leaves a mark, and
    whoever hears of a change takes the mark away with the answer. At most ``most`` answers: the one that was not
    asked for the longest goes first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = Lock()
        self._answers: OrderedDict[tuple[str, ...], tuple[bytes, list[bytes]]] = OrderedDict()
        self._holding: dict[str, set[tuple[str, ...]]] = {}
        self._marks: dict[tuple[str, ...], object] = {}
        self._turn: object | None = None
        self._until = 0.0
        self.hits = 0

    def __len__(self) -> int:
        return len(self._answers)

    # --- Readers ----------------------------------------------------------------------------------

    def find(self, epoch: bytes, keys: tuple[str, ...]) -> list[bytes] | None:
        """What the keys hold; None when it is not known for sure."""
        with self._lock:
            answer = self._answers.get(keys)
            if answer is None or answer[0] != epoch or time.monotonic() >= self._until:
                return None
            self._answers.move_to_end(keys)
            self.hits += 1
            return answer[1]

    def begin(self, keys: tuple[str, ...]) -> object | None:
        """Before Redis is asked: the mark of all who ask for these keys now. None while changes are not told."""
        with self._lock:
            return self._marks.setdefault(keys, object()) if time.monotonic() < self._until else None

    def keep(self, epoch: bytes, keys: tuple[str, ...], values: Sequence[bytes | None], mark: object | None) -> None:
        """After Redis answered, unless the mark is gone or something is missing: what is not there may come."""
        found = [value for value in values if value is not None]
        with self._lock:
            if mark is None or self._marks.get(keys) is not mark or len(found) < len(keys):
                return
            self._answers[keys] = (epoch, found)
            self._answers.move_to_end(keys)
            for key in keys:
                self._holding.setdefault(key, set()).add(keys)
            if len(self._answers) > self._most:
                self._drop(next(iter(self._answers)))

    def end(self, keys: tuple[str, ...], mark: object | None) -> None:
        """After the answer was kept, or there was none."""
        with self._lock:
            if mark is not None and self._marks.get(keys) is mark:
                del self._marks[keys]

    # --- What is told -----------------------------------------------------------------------------

    def forget(self, keys: Iterable[object]) -> None:
        """The keys changed, or are about to. Words that are no keys do no harm."""
        changed = set(keys)
        with self._lock:
            for key in changed & self._holding.keys():
                for answer in tuple(self._holding.get(str(key), ())):
                    self._drop(answer)
            for asked in [asked for asked in self._marks if not changed.isdisjoint(asked)]:
                del self._marks[asked]

    def clear(self) -> None:
        """Anything may have changed."""
        with self._lock:
            self._clear()

    def open(self) -> object:
        """Somebody begins to listen for changes; nothing is believed before he says so. His turn ends at the next."""
        with self._lock:
            self._shut()
            self._turn = object()
            return self._turn

    def is_turn(self, turn: object) -> bool:
        """Has nobody closed it, or opened it again, since?"""
        return self._turn is turn

    def believe(self, turn: object, until: float) -> None:
        """Every change before was told; answers are given until so late on the monotonic clock. Only in one's turn."""
        with self._lock:
            if self._turn is turn:
                self._until = until

    def close(self) -> None:
        """Nobody listens any more."""
        with self._lock:
            self._shut()

    def _shut(self) -> None:
        self._clear()
        self._turn = None
        self._until = 0.0

    def _clear(self) -> None:
        self._answers.clear()
        self._holding.clear()
        self._marks.clear()

    def _drop(self, answer: tuple[str, ...]) -> None:
        del self._answers[answer]
        for key in answer:
            held = self._holding.get(key)
            if held is not None:
                held.discard(answer)
                if not held:
                    del self._holding[key]
