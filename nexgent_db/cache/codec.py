"""Rows as JSON values of the cache. Pure.

A cached row is a JSON object: ``version`` first, for the scripts, then the row's fields in camelCase, decimals and ids
as strings, times in ISO 8601. A value that cannot be read back as the requested row counts as not cached.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from operator import itemgetter
from typing import Any, Final, Generic, TypeVar, get_args

import msgspec
from pydantic import BaseModel

from nexgent_db.models.balances import AgentBalance
from nexgent_db.models.cache import CachedAgent
from nexgent_db.models.positions import AgentPosition
from nexgent_db.queries.rows import plain_type, row_maker

Model = TypeVar("Model", bound=BaseModel)

CLOSED: Final = 2**63 - 1
"""The version of a final deletion: a position's id is never used again."""

_VERSION: Final = re.compile(rb'\{"version":([0-9]{1,19})[,}]')


def version_of(payload: bytes) -> int | None:
    """The version at the start of a payload, as the scripts read it; None when there is none."""
    match = _VERSION.match(payload)
    return None if match is None else int(match[1])


class Codec(Generic[Model]):
    """Encodes one model's rows as JSON and decodes them, digit by digit."""

    def __init__(self, model: type[Model]) -> None:
        names = ["version", *(name for name in model.model_fields if name != "version")]
        fields = [(name, plain_type(item.annotation)) for name, item in model.model_fields.items()]
        self._camels = [_camel(name) for name in names]
        self._values_of = itemgetter(*names)
        self._decimals = [_camel(name) for name, kind in fields if Decimal in (kind, *get_args(kind))]
        self._decoder = msgspec.json.Decoder(msgspec.defstruct(model.__name__, fields, rename="camel", kw_only=True))
        self._make: Callable[[Any], Model] = row_maker(model, list(model.model_fields), f"cached {model.__name__}")

    def encode(self, row: Model) -> bytes:
        """The row's cached value."""
        document = dict(zip(self._camels, self._values_of(row.__dict__), strict=True))
        for name in self._decimals:
            if (number := document[name]) is not None:
                document[name] = f"{number:f}"
        return msgspec.json.encode(document)

    def decode(self, payload: bytes) -> Model | None:
        """The row; None for a value that is no row of this model."""
        if version_of(payload) is None:
            return None
        try:
            return self._make(msgspec.structs.astuple(self._decoder.decode(payload)))
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


POSITION: Final = Codec(AgentPosition)
BALANCE: Final = Codec(AgentBalance)


def encode_config(agent: CachedAgent) -> bytes | None:
    """The stored document with version and agentId before its own keys; None when it is no object."""
    text = "{}" if agent.trading_config == "null" else agent.trading_config
    if not text.startswith("{"):
        return None
    rest = text[1:] if text[1:].strip() == "}" else "," + text[1:]
    return f'{{"version":{agent.version},"agentId":"{agent.id}"{rest}'.encode()


def is_cacheable(agent: CachedAgent) -> bool:
    """Is the stored configuration a JSON object? When not, every reader raises the same error from the database."""
    return encode_config(agent) is not None
