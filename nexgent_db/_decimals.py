"""Decimals as plain text."""

from __future__ import annotations

from decimal import Decimal

__all__ = ["plain"]


def plain(number: Decimal) -> str:
    """All digits of the number, without an exponent, trailing decimal zeros or a negative zero."""
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
