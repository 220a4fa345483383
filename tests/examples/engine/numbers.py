"""Arithmetic with money: exact, or rounded where it says so. Python's own context has 28 digits, an amount has 38."""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal
from typing import Final

EXACT: Final = Context(prec=80, rounding=ROUND_DOWN)
"""For ``localcontext``: sums, differences and products of figures from the database lose no digit."""
_SMALLEST: Final = Decimal("1e-18")
_HUNDREDTH: Final = Decimal("0.01")


def value_of(amount: Decimal, price: Decimal) -> Decimal:
    """Amount times price, rounded down to the 18 decimals that the database stores."""
    return EXACT.multiply(amount, price).quantize(_SMALLEST, context=EXACT)


def change_percent(before: Decimal, after: Decimal) -> Decimal:
    """The change from one price to another in percent, rounded towards zero to two decimals; 0 from a price of 0."""
    if not before:
        return Decimal(0)
    difference = EXACT.multiply(EXACT.subtract(after, before), Decimal(100))
    return EXACT.divide(difference, before).quantize(_HUNDREDTH, context=EXACT)
