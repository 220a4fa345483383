"""Values as text for people: decimals in plain digits, and any text on one line."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["plain", "visible"]


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
