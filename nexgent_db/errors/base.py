"""The root: every error of this package is one of its subclasses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Self, TypeAlias, TypeVar

from nexgent_db._text import plain, shortened, visible

__all__ = [
    "NexgentError",
]


class NexgentError(Exception):
    """The root of every error of this package. Its message is one line of visible characters: others are escaped, such
    as ``\\n`` and ``\\u202e``. Of more than 5,000 characters, those in the middle are left out. It can be copied and
    pickled.

    ``code`` is its name for other programs, ``details`` has the figures of the message, ``http_status`` is a hint.

    The call may have taken effect: the subclass says. Never retry for this class alone.
    """

    code: ClassVar[str] = "nexgent_error"
    """The class's name in snake_case, such as ``insufficient_balance``. It does not change between releases."""
    http_status: ClassVar[int] = 500
    """A hint for services that answer requests: 4xx when the request is at fault, 503 when a later one may succeed."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(visible(message)))

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.strip("_")).lower()

    @property
    def details(self) -> dict[str, object]:
        """The error's public attributes by name, such as ``balance`` and ``required``: Decimal, UUID, datetime, str…"""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def to_json(self) -> dict[str, JsonDetail]:
        """``code``, ``message`` and ``details`` for JSON: decimals, ids and times as text, with every digit."""
        return {"code": self.code, "message": str(self), "details": _jsonable(self.details)}

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self.__dict__)

    def __copy__(self) -> Self:
        """A copy with the cause, but without the traceback, which keeps objects alive."""
        copied = _again(type(self), self.args, self.__dict__)
        copied.__cause__ = self.__cause__
        return copied


JsonDetail: TypeAlias = "str | int | float | bool | list[JsonDetail] | dict[str, JsonDetail] | None"


def _jsonable(value: object) -> JsonDetail:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return plain(value)
        case datetime():
            return value.isoformat()
        case _ if (fields := getattr(value, "_asdict", None)) is not None:
            return _jsonable(fields())
        case Mapping():
            return {str(name): _jsonable(each) for name, each in value.items()}
        case tuple() | list():
            return [_jsonable(each) for each in value]
        case _:
            return str(value)


_E = TypeVar("_E", bound=NexgentError)


def _again(kind: type[_E], args: tuple[object, ...], state: dict[str, object]) -> _E:
    """Rebuild a pickled error without its constructor, which takes the figures and not the message."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error
