"""The root: every error of this package is one of its subclasses."""

from __future__ import annotations

from typing import Any, Self, TypeVar

__all__ = [
    "NexgentError",
]


class NexgentError(Exception):
    """The root of every error of this package. Its message is one line; it can be copied and pickled.

    The call may have taken effect: the subclass says. Never retry for this class alone.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)

    def __copy__(self) -> Self:
        """A copy with the cause, but without the traceback, which keeps objects alive."""
        copied = _again(type(self), self.args, self.__dict__)
        copied.__cause__ = self.__cause__
        return copied


_E = TypeVar("_E", bound=NexgentError)


def _again(kind: type[_E], args: tuple[object, ...], state: dict[str, object]) -> _E:
    """Rebuild a pickled error without its constructor, which takes the figures and not the message."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error
