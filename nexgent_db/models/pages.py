"""Pages of a list: each starts where the previous one ended, even when rows were added in between."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Generic, TypeVar
from uuid import UUID

from nexgent_db.errors import InvalidInput
from nexgent_db.models.base import AwareDatetime, BigInt, Input, Row, TokenAddress, WalletAddress
from nexgent_db.models.storable import shortened

MAX_PAGE: Final = 9_999
_LONGEST_CURSOR: Final = 1000

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Input)


class Page(Row, Generic[Item]):
    """A part of a list and, when there is more, the cursor of the next part.

    A cursor holds the last row's key, not the number of rows before it: page 10,000 costs the same as page 1, and rows
    that are added meanwhile neither shift nor repeat a row.
    """

    items: list[Item]
    next: str | None


class BeforeUuid(Input):
    """A position in a list that is ordered by time, then by a uuid, newest first."""

    before_time: AwareDatetime | None = None
    before_id: UUID | None = None


class BeforeNumber(Input):
    """A position in a list that is ordered by time, then by a number, newest first."""

    before_time: AwareDatetime | None = None
    before_id: BigInt | None = None


class AfterTime(Input):
    """A position in a list that is ordered by time, then by a uuid, oldest first."""

    after_time: AwareDatetime | None = None
    after_id: UUID | None = None


class AfterUuid(Input):
    """A position in a list that is ordered by a uuid."""

    after_id: UUID | None = None


class AfterAddress(Input):
    """A position in a list that is ordered by a wallet's address."""

    after_address: WalletAddress | None = None


class AfterToken(Input):
    """A position in a list that is ordered by a token's address."""

    after_token: TokenAddress | None = None


def one_more_than(limit: int) -> int:
    """The number of rows to query: the extra one shows that there is a next page.

    Raises InvalidInput for a limit outside of 1 to 9,999.
    """
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("limit", f"a page has 1 to {MAX_PAGE:,} rows")
    return limit + 1


def make_page(rows: list[Item], limit: int, list_name: str, time_column: str) -> Page[Item]:
    """The page from up to ``limit + 1`` queried rows, which are ordered by a time and their id."""

    def key_of(row: Item) -> tuple[str, str]:
        moment: datetime = getattr(row, time_column)
        return moment.isoformat(), str(row.id)  # type: ignore[attr-defined]

    return make_page_by(key_of, rows, limit, list_name)


def make_page_by(key_of: Callable[[Item], tuple[str, ...]], rows: list[Item], limit: int, list_name: str) -> Page[Item]:
    """The page from up to ``limit + 1`` queried rows: the extra row shows that there is a next page.

    ``key_of`` gives a row's place in the list: the fields of the list's key, in their order.
    """
    items = rows[:limit]
    after = _encode([list_name, *key_of(items[-1])]) if len(rows) > limit else None
    return Page[Item].model_construct(items=items, next=after)


def decode_cursor(cursor: str | None, list_name: str, key: type[Key]) -> Key:
    """The key after which the cursor's page starts. Raises InvalidInput when it is not a cursor of this list."""
    if cursor is None:
        return key()
    if not isinstance(cursor, str) or len(cursor) > _LONGEST_CURSOR:
        raise InvalidInput("cursor", "it is not one that a page gave")
    try:
        name, *place = json.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
        if isinstance(name, str) and name != list_name:
            raise InvalidInput("cursor", f"it is a cursor of {shortened(name)}, not of {list_name}")
        if name != list_name or None in place:
            raise ValueError("a place has no empty field")
        return key.model_validate_json(json.dumps(dict(zip(key.model_fields, place, strict=True))))
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise InvalidInput("cursor", "it is not one that a page gave") from error


def _encode(parts: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode("ascii")
