"""What PostgreSQL can store of text and of JSON, told before anything is sent, and never by repeating it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, JsonValue, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

MAX_JSON_BYTES: Final = 1_048_576
"""How long a JSON document may be, written without spaces in UTF-8: 1 MiB. A swap's payload is some kilobytes."""

_SHOWN: Final = 100

_encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_NUL_IN_JSON: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def storable_text(text: str) -> str:
    """The text itself. Raises ValueError for NUL, which PostgreSQL has no place for, and half of a surrogate pair."""
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
    """Raises ValueError for JSON text of more than MAX_JSON_BYTES, or that holds what no text may hold."""
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


def _storable_json(value: object, handler: ValidatorFunctionWrapHandler) -> object:
    """The document as pydantic has checked it, once its text is found to be storable."""
    try:
        storable_json_text(_encode(value))
    except RecursionError:
        raise ValueError("is no JSON: it is nested too deeply, or holds itself") from None
    except TypeError as error:  # a value that JSON has no form for
        raise ValueError(f"is no JSON: {error}") from None
    try:
        return handler(value)
    except ValidationError as error:  # nested more deeply than pydantic goes, or a key that is no text
        raise ValueError(f"is no JSON: {error.errors(include_url=False, include_input=False)[0]['msg']}") from None


Text = Annotated[str, AfterValidator(storable_text)]
"""Any text that can be stored."""

JsonText = Annotated[str, AfterValidator(_json_text)]
"""A JSON document as text."""

Json = Annotated[JsonValue, WrapValidator(_storable_json)]
"""A JSON document as Python has it: dict, list, str, int, float, bool, None."""


def place_of_fault(fault: Mapping[str, Any]) -> str:
    """Where pydantic found a fault: ``sale_transaction_ids.3``."""
    return shortened(".".join(map(str, fault["loc"])))


def said_of_fault(fault: Mapping[str, Any]) -> str:
    """What pydantic says of a fault, without the value."""
    if fault["type"] == "string_unicode":
        return NOT_UNICODE
    message: str = fault["msg"]
    return message.removeprefix("Value error, ")


def shortened(text: object) -> str:
    """A name that somebody gave, in a message: it may be 10 MB long."""
    shown = str(text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
