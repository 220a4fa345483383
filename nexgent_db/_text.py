"""Values as text for people: decimals in plain digits, and any text on one line."""

from __future__ import annotations

import traceback
from decimal import Decimal
from pathlib import Path
from typing import Final

__all__ = ["described", "plain", "quoted", "shortened", "visible"]

_LONGEST_QUOTED: Final = 40
_LONGEST_MESSAGE: Final = 5_000
_PLACES: Final = 3
_KEPT: Final = 2_450
"""The characters that stay at each end of a message that is too long."""


def plain(number: Decimal) -> str:
    """All digits of the number, without an exponent, trailing decimal zeros or a negative zero."""
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def visible(text: str) -> str:
    """The text on one line; what does not show is escaped as Python writes it: ``\\n``, ``\\x1b``, ``\\u202e``.

    Names and symbols come from outside: raw, they could start new lines of a log, or reorder or recolour a terminal.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def shortened(text: str) -> str:
    """The text, of at most 5,000 characters: what is in the middle of a longer one is left out, and counted."""
    if len(text) <= _LONGEST_MESSAGE:
        return text
    return f"{text[:_KEPT]} … ({len(text) - 2 * _KEPT:,} characters left out) … {text[-_KEPT:]}"


def described(error: BaseException) -> str:
    """An error and the three places next to it, on one line: for a log, where a traceback would show its text raw."""
    frames = traceback.extract_tb(error.__traceback__)[: -_PLACES - 1 : -1]
    places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return visible(shortened(repr(error)) + (f" (at {places})" if places else ""))


def quoted(text: str) -> str:
    """A value of a setting in quotes; only the length of one that is long or like a URL, which may hold a password."""
    short = len(text) <= _LONGEST_QUOTED and "://" not in text and "@" not in text
    return repr(text) if short else f"a text of {len(text):,} characters"
