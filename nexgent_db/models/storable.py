"""Checks that PostgreSQL can store text, JSON and times, before they are sent. No message repeats a text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    JsonValue,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

MAX_JSON_BYTES: Final = 1_048_576
"""The longest JSON document, in UTF-8 without spaces: 1 MiB. A swap's payload has some kilobytes."""

MAX_JSON_DEPTH: Final = 255
"""How deeply the lists and objects of a document are nested at most."""

_SHOWN: Final = 100
_TOO_DEEP: Final = "is no JSON: it is nested too deeply, or holds itself"
_IN_QUOTES: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKET: Final = re.compile(r"[\[\]{}]")

_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def storable_text(text: str) -> str:
    """The text itself. Raises ValueError for NUL, which PostgreSQL cannot store, and for half of a surrogate pair."""
    if "\0" in text:
        raise ValueError("text with the character NUL cannot be stored")
    if not (text.isascii() or _is_unicode(text)):
        raise ValueError(NOT_UNICODE)
    return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


NOT_UNICODE: Final = "text that is not Unicode, such as half of a surrogate pair, cannot be stored"


def storable_json_text(text: str) -> None:
    """Raises ValueError for JSON text that is longer than MAX_JSON_BYTES or holds a character that no text may hold."""
    storable_text(text)
    size = len(text) if text.isascii() else len(text.encode())
    if size > MAX_JSON_BYTES:
        raise ValueError(f"{size:,} bytes of JSON are more than {MAX_JSON_BYTES:,}")
    if "\\u0000" in text and _NUL_IN_JSON.search(text):
        raise ValueError("JSON with the character NUL cannot be stored")


def _json_text(text: str) -> str:
    storable_json_text(text)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    return text


def document_text(document: object) -> str:
    """The document as JSON text. Raises ValueError when it cannot be written, or the text cannot be stored."""
    try:
        text = _encode(document)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except TypeError as error:  # a value that JSON has no form for
        raise ValueError(f"is no JSON: {error}") from None
    storable_json_text(text)
    return text


def ensure_flat(text: str) -> None:
    """Raises ValueError for JSON text that is nested more than MAX_JSON_DEPTH deep, which pydantic refuses as well."""
    if text.count("[") + text.count("{") <= MAX_JSON_DEPTH:
        return
    depth = 0
    for bracket in _BRACKET.findall(_IN_QUOTES.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise ValueError(_TOO_DEEP)


def _storable_json(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    """The document, after its text was checked here and its structure by pydantic."""
    document_text(value)
    try:
        return handler(value)
    except ValidationError as error:  # nested more deeply than pydantic goes, or a key that is no text
        raise ValueError(f"is no JSON: {error.errors(include_url=False, include_input=False)[0]['msg']}") from None


_FIRST_TIME: Final = datetime(1, 1, 2, tzinfo=UTC)
_END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)


def storable_time(time: datetime) -> datetime:
    """The time itself. Raises ValueError near the ends of Python's calendar.

    PostgreSQL's calendar is longer: there it would store times that no session can read back. A time with an offset may
    lie in the year 0 or 10000 of UTC, and a time in UTC in such a year of the session's zone.
    """
    try:
        in_range = _FIRST_TIME <= time.astimezone(UTC) < _END_OF_TIME
    except OverflowError:
        in_range = False
    if not in_range:
        raise ValueError("a time must lie between 0001-01-02 and 9998-12-31 in UTC")
    return time


Timestamp = Annotated[AwareDatetime, AfterValidator(storable_time)]
"""An aware time that can be stored and read back."""

Text = Annotated[str, AfterValidator(storable_text)]
"""Any text that can be stored."""

JsonText = Annotated[str, AfterValidator(_json_text)]
"""A JSON document as text."""

Json = Annotated[JsonValue, WrapValidator(_storable_json)]
"""A JSON document as Python objects: dict, list, str, int, float, bool, None."""


def place_of_fault(fault: Mapping[str, Any]) -> str:
    """The path of a fault that pydantic found: ``sale_transaction_ids.3``."""
    return shortened(".".join(map(str, fault["loc"])))


def said_of_fault(fault: Mapping[str, Any]) -> str:
    """Pydantic's message about a fault, without the value unless it is a number outside of its bounds."""
    if fault["type"] == "string_unicode":
        return NOT_UNICODE
    message: str = fault["msg"]
    if fault["type"] in _OUT_OF_BOUNDS:
        with suppress(ValueError):  # an int of a million digits
            return f"{message}, is {shortened(fault['input'])}"
    return message.removeprefix("Value error, ")


_OUT_OF_BOUNDS: Final = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})


def shortened(text: object) -> str:
    """A caller's name, shortened for a message: it may be 10 MB long."""
    shown = str(text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
