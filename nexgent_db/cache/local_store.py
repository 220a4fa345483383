"""Recent answers of Redis, kept in this process until they may have changed. Pure; thread-safe."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from threading import Lock


class LocalStore:
    """Answers of MGET, each whole and of one epoch: the keys of one answer are as they were at one moment together.

    An answer is only stored when none of its keys changed while it was requested: the reader gets a load token, and a
    reported change removes the token together with the answer. At most ``max_answers`` answers: the least recently
    used one goes first.
    """

    def __init__(self, max_answers: int) -> None:
        self._max_answers = max_answers
        self.reset_after_fork()

    def reset_after_fork(self) -> None:
        """In a child process: start empty. A thread of the parent may have held the lock."""
        self._lock = Lock()
        self._answers: OrderedDict[tuple[str, ...], tuple[bytes, list[bytes]]] = OrderedDict()
        self._answers_of_key: dict[str, set[tuple[str, ...]]] = {}
        self._load_tokens: dict[tuple[str, ...], object] = {}
        self._generation: object | None = None
        self._valid_until = 0.0
        self.hits = 0

    def __len__(self) -> int:
        return len(self._answers)

    # --- Readers ----------------------------------------------------------------------------------

    def find(self, epoch: bytes, keys: tuple[str, ...]) -> list[bytes] | None:
        """The values of the keys; None when there is no valid answer."""
        with self._lock:
            answer = self._answers.get(keys)
            if answer is None or answer[0] != epoch or time.monotonic() >= self._valid_until:
                return None
            self._answers.move_to_end(keys)
            self.hits += 1
            return answer[1]

    def begin_load(self, keys: tuple[str, ...]) -> object | None:
        """Before Redis is asked: the load token of all readers of these keys. None while changes are not reported."""
        with self._lock:
            return self._load_tokens.setdefault(keys, object()) if time.monotonic() < self._valid_until else None

    def store(
        self, epoch: bytes, keys: tuple[str, ...], values: Sequence[bytes | None], load_token: object | None
    ) -> None:
        """After Redis answered: store the answer unless its load token is gone, or a key is missing and may appear."""
        present = [value for value in values if value is not None]
        with self._lock:
            if load_token is None or self._load_tokens.get(keys) is not load_token or len(present) < len(keys):
                return
            self._answers[keys] = (epoch, present)
            self._answers.move_to_end(keys)
            for key in keys:
                self._answers_of_key.setdefault(key, set()).add(keys)
            if len(self._answers) > self._max_answers:
                self._drop(next(iter(self._answers)))

    def end_load(self, keys: tuple[str, ...], load_token: object | None) -> None:
        """After the answer was stored, or there was none."""
        with self._lock:
            if load_token is not None and self._load_tokens.get(keys) is load_token:
                del self._load_tokens[keys]

    # --- Reported changes -------------------------------------------------------------------------

    def forget(self, keys: Iterable[object]) -> None:
        """Drop the answers with these keys, which changed or are about to. Values that are no keys do no harm."""
        changed = set(keys)
        with self._lock:
            for key in changed & self._answers_of_key.keys():
                for answer in tuple(self._answers_of_key.get(str(key), ())):
                    self._drop(answer)
            for loading in [loading for loading in self._load_tokens if not changed.isdisjoint(loading)]:
                del self._load_tokens[loading]

    def clear(self) -> None:
        """Drop every answer: anything may have changed."""
        with self._lock:
            self._clear()

    def open(self) -> object:
        """Begin a listener's generation, which ends the one before. No answer is given before ``mark_valid``."""
        with self._lock:
            self._shut()
            self._generation = object()
            return self._generation

    def is_current(self, generation: object) -> bool:
        """Has the store not been closed or opened again since?"""
        return self._generation is generation

    def mark_valid(self, generation: object, until: float) -> None:
        """Give answers until this time of the monotonic clock: every earlier change was reported. Only for the current
        generation."""
        with self._lock:
            if self._generation is generation:
                self._valid_until = until

    def close(self) -> None:
        """End the generation: changes are no longer reported."""
        with self._lock:
            self._shut()

    def _shut(self) -> None:
        self._clear()
        self._generation = None
        self._valid_until = 0.0

    def _clear(self) -> None:
        self._answers.clear()
        self._answers_of_key.clear()
        self._load_tokens.clear()

    def _drop(self, answer: tuple[str, ...]) -> None:
        del self._answers[answer]
        for key in answer:
            answers = self._answers_of_key.get(key)
            if answers is not None:
                answers.discard(answer)
                if not answers:
                    del self._answers_of_key[key]
