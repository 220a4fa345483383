"""Reads a wallet's history: one JSON object a line, oldest first. Pure but for reading the file.

An event moves one token (``transfer_in``, ``transfer_out``) or exchanges two (``swap``). Amounts are decimal text,
whole tokens; the mint ``native`` is SOL. Other fields are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

from nexgent_db.errors import NexgentError
from nexgent_db.models.base import (
    SOL_MINT,
    Name,
    ShortText,
    TokenAddress,
    TokenNumber,
    UsdNumber,
    WalletAddress,
)
from nexgent_db.models.storable import Timestamp, said_of_fault, storable_text

__all__ = ["BadLine", "Event", "Line", "ReplayError", "SwapEvent", "TransferEvent", "read_history"]

MAX_LINE_BYTES: Final = 1_000_000
_REMEMBERED_TRANSACTIONS: Final = 50_000


class ReplayError(NexgentError):
    """A history cannot be replayed; the message says what to do."""


# --- One event ----------------------------------------------------------------------------------


def _number(value: object) -> Decimal:
    if not isinstance(value, str):
        raise ValueError("should be a number as text, in quotes")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{value[:60]!r} is not a decimal number") from None
    return number or Decimal(0)  # a zero such as 0E-999999999 would have a billion digits when written out


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        raise ValueError("should not be negative")
    return number


def _instant(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("should be a time such as 2025-04-27T22:54:01Z")
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value[:60]!r} is not a time such as 2025-04-27T22:54:01Z") from None


def _mint(text: str) -> str:
    return SOL_MINT if text == "native" else text


_Mint = Annotated[TokenAddress, AfterValidator(_mint)]
_Symbol = Annotated[str, StringConstraints(max_length=20), AfterValidator(storable_text)]
_Amount = Annotated[TokenNumber, BeforeValidator(_number), AfterValidator(_not_negative)]
_Usd = Annotated[UsdNumber, BeforeValidator(_number), AfterValidator(_not_negative)]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)

    tx_hash: Name
    time: Annotated[Timestamp, BeforeValidator(_instant)]
    wallet: WalletAddress


class TransferEvent(_Event):
    """An amount of one token that arrived or left; ``to`` is its destination, if known."""

    kind: Literal["transfer_in", "transfer_out"]
    mint: _Mint
    symbol: _Symbol
    amount: _Amount
    amount_usd: _Usd
    to: ShortText | None = None

    @property
    def traded_mint(self) -> str:
        """The token that decides which agent the event belongs to."""
        return self.mint

    @property
    def says_nothing(self) -> bool:
        """Whether the amount is zero, so that there is nothing to write."""
        return not self.amount


class SwapEvent(_Event):
    """An exchange of an amount of one token for an amount of another."""

    kind: Literal["swap"]
    input_mint: _Mint
    input_symbol: _Symbol
    input_amount: _Amount
    input_usd: _Usd
    output_mint: _Mint
    output_symbol: _Symbol
    output_amount: _Amount

    @property
    def traded_mint(self) -> str:
        """The token that decides which agent the event belongs to: the one that is not SOL, or else the output."""
        return self.input_mint if self.output_mint == SOL_MINT else self.output_mint

    @property
    def says_nothing(self) -> bool:
        """Whether the event is no trade: an amount is zero, or both sides are the same token."""
        return not self.input_amount or not self.output_amount or self.input_mint == self.output_mint


Event = TransferEvent | SwapEvent

_EVENT: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


# --- The file -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no event: its number, from 1, and the reason."""

    number: int
    problem: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Line:
    """An event, its place in the file, and its leg of the on-chain transaction.

    ``end`` is the offset of the next line. ``leg`` is the number of earlier events with the same ``tx_hash``.
    """

    number: int
    end: int
    event: Event
    leg: int


def read_history(path: Path) -> Iterator[Line | BadLine]:
    """Each line of the file, except blank ones. Raises ReplayError when it cannot be read."""
    try:
        with path.open("rb") as file:
            yield from _read(file)
    except OSError as error:
        raise ReplayError(f"cannot read {path}: {error.strerror or error}") from error


def _read(file: BinaryIO) -> Iterator[Line | BadLine]:
    legs = _Legs()
    wallet: str | None = None
    end = 0
    for number, text in enumerate(_lines(file), start=1):
        if isinstance(text, _TooLong):
            end += text.length
            yield BadLine(number, f"longer than {MAX_LINE_BYTES} bytes")
            continue
        end += len(text)
        if number == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
        if not text.strip():
            continue
        try:
            event = _event_of(text)
        except ValueError as error:
            yield BadLine(number, str(error))
            continue
        wallet = wallet or event.wallet
        if event.wallet != wallet:
            yield BadLine(number, f"of the wallet {event.wallet!r}: the lines above are the history of {wallet!r}")
            continue
        yield Line(number, end, event, legs.next_of(event.tx_hash))


def _event_of(text: bytes) -> Event:
    """The event of one line. Raises ValueError with the reason in one line of text."""
    try:
        document = json.loads(text.decode(), parse_constant=_reject_constant)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise ValueError("not an event: nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError("not an event: a JSON object is expected")
    try:
        return _EVENT.validate_python(document)
    except ValidationError as error:
        raise ValueError("; ".join(_fault(fault) for fault in error.errors(include_url=False))) from None


def _reject_constant(name: str) -> Any:
    raise ValueError(f"not JSON: {name} is not a number")


def _fault(fault: Any) -> str:
    if fault["type"] == "union_tag_not_found":
        return "kind: missing"
    if fault["type"] == "union_tag_invalid":
        return f"kind: {str(fault['ctx']['tag'])[:60]!r} is not one of transfer_in, transfer_out, swap"
    field = fault["loc"][-1]
    if fault["type"] == "missing":
        return f"{field}: missing"
    return f"{field}: {said_of_fault(fault)}"


@dataclass(frozen=True, slots=True)
class _TooLong:
    length: int


def _lines(file: BinaryIO) -> Iterator[bytes | _TooLong]:
    """The file's lines; for a line that is too long for an event, only its length."""
    while text := file.readline(MAX_LINE_BYTES):
        if text.endswith(b"\n") or len(text) < MAX_LINE_BYTES:
            yield text
            continue
        length = len(text)
        while not text.endswith(b"\n") and (text := file.readline(MAX_LINE_BYTES)):
            length += len(text)
        yield _TooLong(length)


class _Legs:
    """Counts the events of each on-chain transaction, of the latest 50,000 to 100,000 transactions.

    The legs of one transaction are close together; keeping all of them would use more memory as the file grows.
    """

    def __init__(self) -> None:
        self._young: dict[bytes, int] = {}
        self._old: dict[bytes, int] = {}

    def next_of(self, tx_hash: str) -> int:
        key = blake2b(tx_hash.encode(), digest_size=16).digest()
        leg = self._young.get(key, self._old.get(key, 0))
        if len(self._young) >= _REMEMBERED_TRANSACTIONS:
            self._old, self._young = self._young, {}
        self._young[key] = leg + 1
        return leg
