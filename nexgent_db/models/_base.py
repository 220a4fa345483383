"""What every model shares: frozen, no extra fields, exact decimals, aware times."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import core_schema

from nexgent_db.errors import InvalidInput

_MOST_DIGITS: Final = 60

SOL_MINT: Final = "So11111111111111111111111111111111111111112"
"""Wrapped SOL's mint: how SOL is named as a token everywhere in the database."""


@dataclass(frozen=True, slots=True)
class Exact:
    """A ``numeric(precision, scale)`` that is never rounded: what does not fit is refused.

    Accepts Decimal, int and decimal text; refuses float, bool, NaN, infinities, more decimals than ``scale``
    (trailing zeros aside) and more whole digits than ``precision - scale``.
    """

    precision: int
    scale: int

    def check(self, value: object) -> Decimal:
        """``value`` as the Decimal it is, or ValueError saying why it does not fit."""
        number = _to_decimal(value)
        if not number.is_finite():
            raise ValueError(f"{number} is not a number that can be stored")
        _, digits, exponent = number.as_tuple()
        assert isinstance(exponent, int)
        surplus = -exponent - self.scale
        if surplus > 0 and any(digits[-surplus:]):
            raise ValueError(f"{_shown(number)} has more than {self.scale} decimals")
        if number and number.adjusted() >= self.precision - self.scale:
            raise ValueError(f"{_shown(number)} has more than {self.precision - self.scale} whole digits")
        if not number and not -_MOST_DIGITS <= exponent <= 0:
            return Decimal(0)  # 0E+999999999, written out, would fill the memory
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))


def _shown(number: Decimal) -> str:
    text = str(number)
    return text if len(text) <= _MOST_DIGITS else f"{text[:_MOST_DIGITS]}…"


def _to_decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str):
        try:
            return Decimal(value)
        except InvalidOperation:
            raise ValueError(f"{value[:60]!r} is not a decimal number") from None
    raise ValueError(f"a {type(value).__name__} is never accepted for money: give a Decimal")


TokenNumber = Annotated[Decimal, Exact(38, 18)]
"""A token amount or price, an amount of SOL: numeric(38,18)."""
UsdNumber = Annotated[Decimal, Exact(20, 8)]
"""An amount of US dollars: numeric(20,8)."""
Percent = Annotated[Decimal, Exact(20, 4)]
"""A percentage, 12.5 for 12.5 %: numeric(20,4)."""

WalletAddress = Annotated[str, StringConstraints(min_length=1, max_length=44)]
TokenAddress = Annotated[str, StringConstraints(min_length=1, max_length=255)]
TokenSymbol = Annotated[str, StringConstraints(min_length=1, max_length=20)]

ShortText = Annotated[str, StringConstraints(max_length=255)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Limit = Annotated[int, Field(ge=1, le=10_000)]
"""How many rows a list returns at the most."""

TradingMode = Literal["simulation", "live"]


class Row(BaseModel):
    """One row of a query: frozen, its fields are exactly the query's columns."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Order(BaseModel):
    """A request that is checked whole when it is made: InvalidInput names every field at fault, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_as_invalid_input(cls, data: Any, handler: ModelWrapValidatorHandler[Order]) -> Order:
        try:
            return handler(data)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False)
            field = ", ".join(".".join(map(str, fault["loc"])) or cls.__name__ for fault in faults)
            problem = "; ".join(fault["msg"].removeprefix("Value error, ") for fault in faults)
            raise InvalidInput(field, problem) from None


__all__ = [
    "SOL_MINT",
    "UUID",
    "AwareDatetime",
    "Exact",
    "Field",
    "Limit",
    "Name",
    "Order",
    "Percent",
    "Row",
    "ShortText",
    "TokenAddress",
    "TokenNumber",
    "TokenSymbol",
    "TradingMode",
    "UsdNumber",
    "WalletAddress",
]
