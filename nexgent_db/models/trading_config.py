"""The trading configuration of an agent: a JSON document; absent keys have their defaults.

Documents have camelCase keys; attributes are the same in snake_case. Numbers are Decimals and exact both ways.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from pydantic import ValidationError

from nexgent_db.errors import Fault, InvalidInput, InvalidTradingConfig
from nexgent_db.models.storable import storable_json_text
from nexgent_db.models.trading_sections import (
    Dca,
    PositionCalculator,
    PurchaseLimits,
    Section,
    Signals,
    StaleTrade,
    StopLoss,
    TakeProfit,
    keys_of,
    paths_of,
)


class _Document(Section):
    """Raises InvalidTradingConfig when it is made; inside another model, pydantic's own error: see Input."""

    def __init__(self, **data: object) -> None:
        with _invalid_config():
            super().__init__(**data)

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def model_validate(cls, obj: object, **options: Any) -> Self:
        """Validate an object. Raises InvalidTradingConfig."""
        with _invalid_config():
            return super().model_validate(obj, **options)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Validate JSON text. Raises InvalidTradingConfig."""
        with _invalid_config():
            return super().model_validate_json(json_data, **options)


class AgentTradingConfig(_Document):
    """A complete, valid configuration. ``AgentTradingConfig()`` has all defaults, like an agent without a stored one.

    Raises InvalidTradingConfig with the path of every fault; a rule about several fields is checked for the fields that
    are valid by themselves. A section that is made alone raises pydantic's ValidationError.
    """

    purchase_limits: PurchaseLimits = PurchaseLimits()
    signals: Signals = Signals()
    stop_loss: StopLoss = StopLoss()
    position_calculator: PositionCalculator = PositionCalculator()
    stale_trade: StaleTrade = StaleTrade()
    dca: Dca = Dca()
    take_profit: TakeProfit = TakeProfit()

    @classmethod
    def from_document(cls, *documents: Mapping[str, object] | None, agent_id: UUID | None = None) -> Self:
        """Merges each document over those before it, the first over the defaults, and validates the result.

        Objects merge, arrays and scalars replace; unknown keys are dropped; None stands for an empty document. Keys
        are camelCase, numbers int or Decimal. Raises InvalidTradingConfig, which names ``agent_id`` when given.
        """
        merged: object = _defaults(cls)
        for document in documents:
            merged = _merged(cls, merged, {} if document is None else document)
        try:
            return cls.model_validate(merged)
        except InvalidTradingConfig as error:
            faults = error.faults
        raise InvalidTradingConfig(faults, agent_id)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Like :meth:`from_document`, for one document as JSON text."""
        return cls.from_document(read_document(text))

    def to_document(self) -> dict[str, object]:
        """The configuration as a document: camelCase keys, Decimals unchanged, without the bounds that are not set."""
        return _document_of(self)

    def to_json(self) -> str:
        """The document as JSON text, with every digit of its numbers."""
        return _written(self.to_document())


@contextmanager
def _invalid_config() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        faults = [fault for found in error.errors(include_url=False) for fault in paths_of(found)]
    else:
        return
    raise InvalidTradingConfig(faults)


def read_document(text: str, agent_id: UUID | None = None) -> dict[str, object]:
    """A stored document with its numbers as Decimals; JSON null is an empty document.

    Raises InvalidTradingConfig when the text is not a JSON object.
    """
    try:
        storable_json_text(text)
    except ValueError as error:
        raise InvalidTradingConfig([Fault("", str(error), "str")], agent_id) from None
    try:
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError):
        raise InvalidTradingConfig([Fault("", "is no JSON", "str")], agent_id) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidTradingConfig([Fault("", "is no object", type(document).__name__)], agent_id)
    return document


def stored_config(text: str, agent_id: UUID | None = None) -> AgentTradingConfig:
    """The configuration of a stored document. Raises InvalidTradingConfig."""
    return AgentTradingConfig.from_document(read_document(text, agent_id), agent_id=agent_id)


def checked_config(config: object, agent_id: UUID | None = None) -> AgentTradingConfig:
    """The configuration, validated again, because ``model_copy`` does not validate. None is all defaults.

    Raises InvalidInput for an object that is no configuration, InvalidTradingConfig.
    """
    if config is not None and not isinstance(config, AgentTradingConfig):
        raise InvalidInput("config", f"AgentTradingConfig expected, {type(config).__name__} given")
    return AgentTradingConfig.from_document(None if config is None else config.to_document(), agent_id=agent_id)


def merged_config(text: str, patch: object, agent_id: UUID | None = None) -> tuple[str, AgentTradingConfig]:
    """Merges a patch over a stored document; returns the new text and its configuration.

    The stored document may break rules that the patch repairs. Raises InvalidInput for a patch that is no mapping,
    InvalidTradingConfig.
    """
    if not isinstance(patch, Mapping):
        raise InvalidInput("patch", f"a mapping expected, {type(patch).__name__} given")
    config = AgentTradingConfig.from_document(read_document(text, agent_id), patch, agent_id=agent_id)
    return config.to_json(), config


def _defaults(section: type[Section]) -> dict[str, object]:
    return {} if any(field.is_required() for field in section.model_fields.values()) else _document_of(section())


def _merged(section: type[Section], below: object, document: object) -> object:
    """The document merged over the one below; a value that is no object replaces it, and validation refuses it."""
    if not isinstance(document, Mapping):
        return document
    result = dict(below) if isinstance(below, Mapping) else _defaults(section)
    for key, (_, _, held, longest) in keys_of(section).items():
        if key not in document:
            continue
        value = document[key]
        if held is None:
            result[key] = value
        elif longest is None:
            result[key] = _merged(held, result.get(key), value)
        elif isinstance(value, list | tuple) and len(value) <= longest:
            result[key] = [_merged(held, {}, each) for each in value]
        else:
            result[key] = value
    return result


def _document_of(section: Section) -> dict[str, object]:
    document: dict[str, object] = {}
    for key, (name, default, _, _) in keys_of(type(section)).items():
        value = getattr(section, name)
        if value is not None or default is not None:  # a cleared bound is absent; a cleared default is null
            document[key] = _plain(value)
    return document


def _plain(value: object) -> object:
    if isinstance(value, Section):
        return _document_of(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _written(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return format(value, "f") if isinstance(value, Decimal) else json.dumps(value)
