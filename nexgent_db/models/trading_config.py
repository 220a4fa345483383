"""The trading configuration of an agent: a JSON document, of which what is left out stands at its default.

Documents have camelCase keys; attributes are the same in snake_case. Numbers are Decimals and exact both ways.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args, get_origin
from uuid import UUID

from annotated_types import Ge, Gt, Le, MaxLen
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from nexgent_db.errors import InvalidInput, InvalidTradingConfig
from nexgent_db.models._base import Exact
from nexgent_db.models._storable import said_of_fault, shortened, storable_json_text, storable_text

Faults: TypeAlias = Iterator[tuple[str, str]]
"""The path of each fault, and the problem."""


# --- Values -------------------------------------------------------------------------------------


def _number(value: object) -> Decimal:
    if isinstance(value, str):
        raise ValueError("a number is expected, not a text")
    return _EXACT.check(value)


def _whole(value: object) -> int:
    number = _number(value)
    if number != number.to_integral_value():
        raise ValueError("a whole number is expected")
    return int(number)


_EXACT: Final = Exact(38, 18)

Number = Annotated[Decimal, BeforeValidator(_number)]
Whole = Annotated[int, BeforeValidator(_whole)]
Flag = Annotated[bool, Field(strict=True)]
SignalType = Annotated[str, StringConstraints(min_length=1, max_length=50), AfterValidator(storable_text)]
Address = Annotated[str, StringConstraints(min_length=32, max_length=44), AfterValidator(storable_text)]

TokenFilterMode = Literal["none", "blacklist", "whitelist"]
StopLossMode = Literal["fixed", "exponential", "zones", "custom"]
DcaMode = Literal["aggressive", "moderate", "conservative", "custom"]
TakeProfitMode = Literal["aggressive", "moderate", "conservative", "custom"]


# --- Sections -----------------------------------------------------------------------------------


class _Broken(ValueError):
    """The rules of a section that its fields break together."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {problem}" for path, problem in faults))
        self.faults = faults


class Section(BaseModel):
    """An object of the document, with rules that join its fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _keeps_its_rules(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            section = handler(data)
        except ValidationError as error:
            alone = error.errors(include_url=False)
            together = list(
                _faults_of_the_rest(cls, data, {found["loc"][0] for found in alone if found["loc"]}, handler)
            )
            if not together:
                raise
            raise _Broken([fault for found in alone for fault in _paths_of(found)] + together) from None
        if broken := list(section._faults()):
            raise _Broken(broken)
        return section

    def _faults(self) -> Faults:
        """What the fields break together; paths are relative to this section. Nothing can be said of UNKNOWN ones."""
        return iter(())


class _Unknown:
    """Stands for a field that is invalid by itself: whatever is asked of it, no rule is broken."""

    def __getattr__(self, name: str) -> Self:
        return self

    def __getitem__(self, place: int) -> Self:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __radd__(self, other: object) -> Self:
        return self

    def __eq__(self, other: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __hash__ = object.__hash__


def _faults_of_the_rest(
    section: type[Section], data: object, invalid: set[int | str], handler: ModelWrapValidatorHandler[Any]
) -> Faults:
    """What the other fields break together, where some are invalid by themselves."""
    if not isinstance(data, Mapping):
        return
    names = {key: name for key, (name, _, _, _) in _keys(section).items()}
    left_out = invalid | {names[key] for key in names.keys() & invalid}
    try:
        rest = handler({key: value for key, value in data.items() if key not in left_out})
    except ValidationError:  # a field that has no default
        return
    rest.__dict__.update({name: _Unknown() for name in left_out})
    yield from rest._faults()


class PurchaseLimits(Section):
    """What a purchase may cost, in SOL; ``max_price_impact`` is a share, None for any."""

    minimum_agent_balance: Annotated[Number, Ge(Decimal("0.1"))] = Decimal("0.5")
    max_purchase_per_token: Annotated[Number, Gt(0)] = Decimal("2.0")
    max_price_impact: Annotated[Number, Ge(0), Le(1)] | None = Decimal("0.05")


class Signals(Section):
    """Which signals the agent acts on. No allowed types means all of them; None means no bound."""

    min_score: Annotated[Whole, Ge(1), Le(5)] = 1
    allowed_signal_types: Annotated[tuple[SignalType, ...], MaxLen(1000)] = ()
    token_filter_mode: TokenFilterMode = "none"  # noqa: S105  # tokens of a chain
    token_list: Annotated[tuple[Address, ...], MaxLen(10_000)] = ()
    market_cap_min: Annotated[Number, Gt(0)] | None = None
    market_cap_max: Annotated[Number, Gt(0)] | None = None
    liquidity_min: Annotated[Number, Gt(0)] | None = None
    liquidity_max: Annotated[Number, Gt(0)] | None = None
    holder_count_min: Annotated[Whole, Ge(0)] | None = None
    holder_count_max: Annotated[Whole, Ge(0)] | None = None

    def _faults(self) -> Faults:
        for name, low, high in (
            ("marketCap", self.market_cap_min, self.market_cap_max),
            ("liquidity", self.liquidity_min, self.liquidity_max),
            ("holderCount", self.holder_count_min, self.holder_count_max),
        ):
            if low is not None and high is not None and low > high:
                yield f"{name}Min", f"is more than {name}Max"


class TrailingLevel(Section):
    """From this change of the price on, in percent, the stop loss stands here."""

    change: Annotated[Number, Gt(0)]
    stop_loss: Annotated[Number, Gt(0), Le(1000)]


class StopLoss(Section):
    """When a losing position is sold. Levels count in the mode ``custom`` only; the highest change comes first."""

    enabled: Flag = True
    default_percentage: Annotated[Number, Ge(-100), Le(0)] = Decimal(-32)
    mode: StopLossMode = "fixed"
    trailing_levels: Annotated[tuple[TrailingLevel, ...], MaxLen(100)] = ()

    def _faults(self) -> Faults:
        if self.mode != "custom" or not self.enabled:
            return
        if not self.trailing_levels:
            yield "trailingLevels", "must have a level in the mode custom"
        for place, (before, level) in _neighbours(self.trailing_levels):
            if level.change >= before.change:
                yield f"trailingLevels[{place}].change", "is not less than the one before"


class BalanceThresholds(Section):
    """From how much SOL on a wallet counts as small, medium or large."""

    minimum: Annotated[Number, Gt(0)] = Decimal("0.2")
    medium: Annotated[Number, Gt(0)] = Decimal(5)
    large: Annotated[Number, Gt(0)] = Decimal(10)

    def _faults(self) -> Faults:
        if self.medium <= self.minimum:
            yield "medium", "is not more than minimum"
        if self.large <= self.medium:
            yield "large", "is not more than medium"


class SizeRange(Section):
    """From how much to how much SOL a purchase takes."""

    min: Annotated[Number, Ge(0)]
    max: Annotated[Number, Ge(0)]

    def _faults(self) -> Faults:
        if self.min > self.max:
            yield "min", "is more than max"


class PositionSizes(Section):
    """How large a purchase is, by the size of the wallet."""

    small: SizeRange = SizeRange(min=Decimal("0.1"), max=Decimal("0.1"))
    medium: SizeRange = SizeRange(min=Decimal("0.5"), max=Decimal("1.0"))
    large: SizeRange = SizeRange(min=Decimal("1.5"), max=Decimal("2.0"))


class Randomization(Section):
    """Whether a size is drawn from its range."""

    enabled: Flag = True


class PositionCalculator(Section):
    """How large a purchase is."""

    sol_balance_thresholds: BalanceThresholds = BalanceThresholds()
    position_sizes: PositionSizes = PositionSizes()
    randomization: Randomization = Randomization()


class StaleTrade(Section):
    """When a position that does not move is sold."""

    enabled: Flag = True
    min_hold_time_minutes: Annotated[Number, Ge(1)] = Decimal(60)
    min_profit_percent: Number = Decimal(1)
    max_profit_percent: Number = Decimal(10)

    def _faults(self) -> Faults:
        if self.min_profit_percent > self.max_profit_percent:
            yield "minProfitPercent", "is more than maxProfitPercent"


class DcaLevel(Section):
    """At this drop of the price, in percent, so many percent of the position are bought."""

    drop_percent: Annotated[Number, Ge(-99), Le(-1)]
    buy_percent: Annotated[Number, Ge(1), Le(500)]


class Dca(Section):
    """When more of a position is bought. Levels count in the mode ``custom`` only."""

    enabled: Flag = False
    mode: DcaMode = "moderate"
    levels: Annotated[tuple[DcaLevel, ...], MaxLen(100)] = ()
    max_dca_count: Annotated[Whole, Ge(1), Le(10)] = Field(default=3, alias="maxDCACount")
    cooldown_seconds: Annotated[Number, Ge(10), Le(3600)] = Decimal(30)

    def _faults(self) -> Faults:
        if self.mode == "custom" and self.enabled and not self.levels:
            yield "levels", "must have a level in the mode custom"
        for place, (before, level) in _neighbours(self.levels):
            if level.drop_percent > before.drop_percent:
                yield f"levels[{place}].dropPercent", "is more than the one before"


class TakeProfitLevel(Section):
    """At this profit, in percent, so many percent of the position are sold."""

    target_percent: Annotated[Number, Ge(1), Le(10_000)]
    sell_percent: Annotated[Number, Ge(1), Le(100)]


class MoonBag(Section):
    """From which profit on, in percent, how many percent of the position are kept."""

    enabled: Flag = True
    trigger_percent: Annotated[Number, Ge(1), Le(10_000)] = Decimal(300)
    retain_percent: Annotated[Number, Ge(1), Le(50)] = Decimal(10)


class TakeProfit(Section):
    """When parts of a winning position are sold."""

    enabled: Flag = False
    mode: TakeProfitMode = "moderate"
    levels: Annotated[tuple[TakeProfitLevel, ...], MaxLen(10)] = tuple(
        TakeProfitLevel(target_percent=Decimal(target), sell_percent=Decimal(sell))
        for target, sell in ((50, 25), (150, 25), (300, 25), (400, 15))
    )
    moon_bag: MoonBag = MoonBag()

    def _faults(self) -> Faults:
        if self.mode != "custom":
            return
        if not self.levels:
            yield "levels", "must have a level in the mode custom"
            return
        for place, (before, level) in _neighbours(self.levels):
            if level.target_percent <= before.target_percent:
                yield f"levels[{place}].targetPercent", "is not more than the one before"
        kept = self.moon_bag.retain_percent if self.moon_bag.enabled else Decimal(0)
        if (sold := sum(level.sell_percent for level in self.levels)) + kept > 100:
            kept_too = f" and a moon bag of {kept:f} %" if kept else ""
            yield "levels", f"sell {sold:f} %{kept_too}: more than 100 %"
        if self.moon_bag.enabled and self.moon_bag.trigger_percent > self.levels[-1].target_percent:
            yield "moonBag.triggerPercent", "is more than the last level's targetPercent"


def _neighbours(levels: tuple[Any, ...]) -> Iterator[tuple[int, tuple[Any, Any]]]:
    return enumerate(pairwise(levels), 1)


# --- The whole ----------------------------------------------------------------------------------


class AgentTradingConfig(Section):
    """A whole configuration, valid. ``AgentTradingConfig()`` is that of an agent which has none stored.

    Raises InvalidTradingConfig with the path of every fault; rules that join the fields of a section are looked at
    once these are valid by themselves. A section that is made alone raises pydantic's ValidationError.
    """

    purchase_limits: PurchaseLimits = PurchaseLimits()
    signals: Signals = Signals()
    stop_loss: StopLoss = StopLoss()
    position_calculator: PositionCalculator = PositionCalculator()
    stale_trade: StaleTrade = StaleTrade()
    dca: Dca = Dca()
    take_profit: TakeProfit = TakeProfit()

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_with_every_path(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            faults = [fault for found in error.errors(include_url=False) for fault in _paths_of(found)]
        raise InvalidTradingConfig(faults)

    @classmethod
    def from_document(cls, *documents: Mapping[str, object] | None, agent_id: UUID | None = None) -> Self:
        """The documents, each merged over those before and the first over the defaults, validated as a whole.

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
        """The same of one document as JSON text."""
        return cls.from_document(read_document(text))

    def to_document(self) -> dict[str, object]:
        """The whole as a document: camelCase keys, Decimals as they are. Without the bounds that are not set."""
        return _document_of(self)

    def to_json(self) -> str:
        """The document as JSON text, every digit of its numbers as it is."""
        return _written(self.to_document())


def read_document(text: str, agent_id: UUID | None = None) -> dict[str, object]:
    """A stored document, its numbers as Decimals; that of JSON's null is empty.

    Raises InvalidTradingConfig when it is no object.
    """
    try:
        storable_json_text(text)
    except ValueError as error:
        raise InvalidTradingConfig([("", str(error))], agent_id) from None
    try:
        document = json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=Decimal)
    except (ValueError, RecursionError):
        raise InvalidTradingConfig([("", "is no JSON")], agent_id) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidTradingConfig([("", "is no object")], agent_id)
    return document


def stored_config(text: str, agent_id: UUID | None = None) -> AgentTradingConfig:
    """The configuration that a stored document stands for. Raises InvalidTradingConfig."""
    return AgentTradingConfig.from_document(read_document(text, agent_id), agent_id=agent_id)


def checked_config(config: object, agent_id: UUID | None = None) -> AgentTradingConfig:
    """The same configuration, valid for sure: ``model_copy`` changes one unchecked. None is all defaults.

    Raises InvalidInput for what is no configuration, InvalidTradingConfig.
    """
    if config is not None and not isinstance(config, AgentTradingConfig):
        raise InvalidInput("config", f"AgentTradingConfig expected, {type(config).__name__} given")
    return AgentTradingConfig.from_document(None if config is None else config.to_document(), agent_id=agent_id)


def merged_config(text: str, patch: object, agent_id: UUID | None = None) -> tuple[str, AgentTradingConfig]:
    """A patch merged over a stored document: what to store instead, and the configuration that it stands for.

    What is stored may break rules when the patch mends them. Raises InvalidInput for a patch that is no document,
    InvalidTradingConfig.
    """
    if not isinstance(patch, Mapping):
        raise InvalidInput("patch", f"a mapping expected, {type(patch).__name__} given")
    config = AgentTradingConfig.from_document(read_document(text, agent_id), patch, agent_id=agent_id)
    return config.to_json(), config


def _paths_of(found: Any) -> Faults:
    path = ""
    for step in found["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    error = found.get("ctx", {}).get("error")
    if isinstance(error, _Broken):
        yield from ((f"{path}.{within}" if path else within, problem) for within, problem in error.faults)
    else:
        yield shortened(path), said_of_fault(found)


@cache
def _keys(section: type[Section]) -> dict[str, tuple[str, Any, type[Section] | None, bool]]:
    """For each key of a document: the attribute, its default, the section that it holds, and whether many of it."""
    keys: dict[str, tuple[str, Any, type[Section] | None, bool]] = {}
    for name, field in section.model_fields.items():
        kind: Any = field.annotation
        many = get_origin(kind) is tuple
        held: Any = get_args(kind)[0] if many else kind
        is_section = isinstance(held, type) and issubclass(held, Section)
        keys[field.alias or name] = (name, field.default, held if is_section else None, many)
    return keys


def _defaults(section: type[Section]) -> dict[str, object]:
    return {} if any(field.is_required() for field in section.model_fields.values()) else _document_of(section())


def _merged(section: type[Section], below: object, document: object) -> object:
    """The document over the one below; a value that is no object replaces it, and is refused later."""
    if not isinstance(document, Mapping):
        return document
    result = dict(below) if isinstance(below, Mapping) else _defaults(section)
    for key, (_, _, held, many) in _keys(section).items():
        if key not in document:
            continue
        value = document[key]
        if held is None:
            result[key] = value
        elif not many:
            result[key] = _merged(held, result.get(key), value)
        elif isinstance(value, list | tuple):
            result[key] = [_merged(held, {}, each) for each in value]
        else:
            result[key] = value
    return result


def _document_of(section: Section) -> dict[str, object]:
    document: dict[str, object] = {}
    for key, (name, default, _, _) in _keys(type(section)).items():
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
