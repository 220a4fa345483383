"""The root: every error of this package is one of its subclasses."""

from __future__ import annotations

from typing import Any

__all__ = [
    "NexgentError",
]


class NexgentError(Exception):
    """The root of every error of this package. Its message is one line; it can be copied and pickled.

    The call may have taken effect: the subclass says. Never retry for this class alone.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)


def _again(kind: type[NexgentError], args: tuple[object, ...], state: dict[str, object]) -> NexgentError:
    """Rebuild a pickled error without its constructor, which takes the figures and not the message."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error
