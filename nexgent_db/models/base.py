"""The base of every model: frozen, no extra fields, exact decimals, aware times."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self, dataclass_transform
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    StringConstraints,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from nexgent_db._text import plain
from nexgent_db.errors import Fault, InvalidInput
from nexgent_db.models.storable import Text, place_of_fault, said_of_fault, storable_text

_MAX_DIGITS: Final = 60
_MAX_BITS: Final = 256
_MAX_CHARACTERS: Final = 1000

SOL_MINT: Final = "So11111111111111111111111111111111111111112"
"""The mint of wrapped SOL: the token address of SOL everywhere in the database."""


@dataclass(frozen=True, slots=True)
class Exact:
    """A ``numeric(precision, scale)`` that is never rounded: a value that does not fit is refused.

    Accepts Decimal, int and decimal text; refuses float, bool, NaN, infinities, more decimals than ``scale``
    (trailing zeros aside) and more whole digits than ``precision - scale``.
    """

    precision: int
    scale: int

    def check(self, value: object) -> Decimal:
        """``value`` as a Decimal. Raises ValueError, which says why it does not fit."""
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
        if not number and not -_MAX_DIGITS <= exponent <= 0:
            return Decimal(0)  # formatting 0E+999999999 would fill the memory
        return number

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Text: most JSON libraries read a number as a float, which has 17 digits."""
        del schema, handler
        return {"type": "string", "pattern": rf"^-?\d{{1,{self.precision - self.scale}}}(\.\d{{1,{self.scale}}})?$"}


def _shown(number: Decimal) -> str:
    text = str(number)
    return text if len(text) <= _MAX_DIGITS else f"{text[:_MAX_DIGITS]}…"


def _to_decimal(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        if value.bit_length() > _MAX_BITS:  # to convert a million digits takes 20 seconds
            raise ValueError(f"an integer of {value.bit_length():,} bits has too many digits")
        return Decimal(value)
    if isinstance(value, str):
        if len(value) > _MAX_CHARACTERS:
            raise ValueError(f"a text of {len(value):,} characters is too long for a decimal number")
        try:
            return Decimal(value)
        except InvalidOperation:
            raise ValueError(f"{value[:60]!r} is not a decimal number") from None
    raise ValueError(f"a {type(value).__name__} is never accepted for money: give a Decimal")


TokenNumber = Annotated[Decimal, Exact(38, 18)]
"""A token amount, a price or an amount of SOL: numeric(38,18)."""
UsdNumber = Annotated[Decimal, Exact(20, 8)]
"""An amount of US dollars: numeric(20,8)."""
Percent = Annotated[Decimal, Exact(20, 4)]
"""A percentage, 12.5 for 12.5 %: numeric(20,4)."""


_INVISIBLE: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""What Unicode calls default ignorable, Hangul's fillers among it, and Braille's blank: Python prints much of it."""


def _email(address: str) -> str:
    normal = unicodedata.normalize("NFC", storable_text(address))
    if not normal.isprintable() or " " in normal or _INVISIBLE.search(normal):
        raise ValueError("an e-mail address has neither blanks nor invisible characters")
    return normal


_Storable: Final = AfterValidator(storable_text)  # after the length, so that long text is refused for its length

WalletAddress = Annotated[str, StringConstraints(min_length=1, max_length=44), _Storable]
TokenAddress = Annotated[str, StringConstraints(min_length=1, max_length=255), _Storable]
TokenSymbol = Annotated[str, StringConstraints(min_length=1, max_length=20), _Storable]

ShortText = Annotated[str, StringConstraints(max_length=255), _Storable]
Email = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_email)]
"""An e-mail address on one line, without blanks and invisible characters, in Unicode's composed form."""
LongText = Annotated[str, StringConstraints(max_length=100_000), _Storable]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255), _Storable]
CellName = Annotated[str, StringConstraints(min_length=1, max_length=63), _Storable]
BigInt = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
MAX_LIST: Final = 10_000
"""How many rows a list without a limit returns: when there are more, it raises ListTooLong."""
Limit = Annotated[int, Field(ge=1, le=MAX_LIST)]
"""How many rows the caller wants at most."""
RowLimit = Annotated[int, Field(ge=1, le=MAX_LIST + 1)]
"""How many rows a query reads at most: one more than a list returns shows that it is too long."""

MANY: Final = 10_000
"""How many items a method accepts at once."""

TradingMode = Literal["simulation", "live"]


def _serialize_plainly(schema: Any) -> None:
    """Give every decimal of a schema that has no serializer yet the plain one."""
    if isinstance(schema, dict):
        if schema.get("type") == "decimal" and "serialization" not in schema:
            schema["serialization"] = core_schema.plain_serializer_function_ser_schema(
                plain, return_schema=core_schema.str_schema(), when_used="json"
            )
        for part in schema.values():
            _serialize_plainly(part)
    elif isinstance(schema, list):
        for part in schema:
            _serialize_plainly(part)


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr))
class FrozenModels(ModelMetaclass):
    """Tells type checkers that every subclass is frozen, without a word in the subclass."""


class _Exact(BaseModel, metaclass=FrozenModels, frozen=True, extra="forbid"):
    """A frozen model whose decimals are plain text in JSON, with every digit: ``"0"``, never ``"0E-18"``."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        schema = handler(source)
        _serialize_plainly(schema)
        return schema


class Row(_Exact):
    """One row of a query. It is frozen, and its fields are exactly the query's columns."""


class Input(_Exact):
    """An order, filter or cursor, validated when it is made: InvalidInput names every field at fault, and why.

    Inside another model, such as the body of a request, faults are pydantic's own, with their paths.
    """

    def __init__(self, **data: Any) -> None:
        with _invalid_input(type(self)):
            super().__init__(**data)

    # Pydantic then validates an Input inside another model without calling __init__, which would hide the path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Validate an object. Raises InvalidInput."""
        with _invalid_input(cls):
            return super().model_validate(obj, **options)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Validate JSON text. Raises InvalidInput."""
        with _invalid_input(cls):
            return super().model_validate_json(json_data, **options)


@contextmanager
def _invalid_input(kind: type[Input]) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        faults = [
            Fault(place_of_fault(fault) or kind.__name__, said_of_fault(fault), type(fault["input"]).__name__)
            for fault in found
        ]
        raise InvalidInput(
            ", ".join(fault.field for fault in faults), "; ".join(fault.message for fault in faults), faults
        ) from None


def fault_at(field: str, message: str, value: object) -> ValidationError:
    """A fault of one field that a rule about several fields found, to be raised by the rule."""
    fault = InitErrorDetails(
        type=PydanticCustomError("value_error", "{message}", {"message": message}), loc=(field,), input=value
    )
    return ValidationError.from_exception_data(field, [fault])


def list_of(kind: type[Input], orders: object, name: str) -> None:
    """Raises InvalidInput unless ``orders`` is a sequence of at most 10,000 orders of this kind."""
    if not isinstance(orders, Sequence):
        raise InvalidInput(name, f"a list is expected, not {type(orders).__name__}")
    if len(orders) > MANY:
        raise InvalidInput(name, f"{len(orders):,} are given, {MANY:,} can be taken at once")
    for place, order in enumerate(orders):
        if not isinstance(order, kind):
            raise InvalidInput(name, f"at {place}: {kind.__name__} expected, {type(order).__name__} given")


def columns_of(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    """A list for each of the ``count`` columns of rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(count)]


__all__ = [
    "MANY",
    "MAX_LIST",
    "SOL_MINT",
    "UUID",
    "AwareDatetime",
    "BigInt",
    "CellName",
    "Email",
    "Exact",
    "Field",
    "FrozenModels",
    "Input",
    "Limit",
    "LongText",
    "Name",
    "Percent",
    "Row",
    "RowLimit",
    "ShortText",
    "Text",
    "TokenAddress",
    "TokenNumber",
    "TokenSymbol",
    "TradingMode",
    "UsdNumber",
    "WalletAddress",
    "columns_of",
    "fault_at",
    "list_of",
]
