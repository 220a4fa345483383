"""The sections of a trading configuration: their fields, and the rules about several fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

from nexgent_db.errors import Fault
from nexgent_db.models.base import Exact, FrozenModels
from nexgent_db.models.storable import said_of_fault, shortened, storable_text

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


@dataclass(frozen=True, slots=True)
class AtMost:
    """A list of at most ``count`` items. A longer one is refused before any item is looked at: the check of a million
    items, and a fault for each, take minutes and gigabytes."""

    count: int

    def check(self, value: object) -> object:
        """``value`` itself. Raises ValueError for too long a list."""
        if isinstance(value, list | tuple) and len(value) > self.count:
            raise ValueError(f"has {len(value):,} items: {self.count:,} can be stored")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "maxItems": self.count}


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
    """The rules about several fields that a section breaks."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{path}: {problem}" for path, problem, _ in faults))
        self.faults = faults


class Section(BaseModel, metaclass=FrozenModels):
    """An object of the document, with rules about several of its fields."""

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
            invalid = {found["loc"][0] for found in alone if found["loc"]}
            together = [Fault(*fault, None) for fault in _faults_of_the_rest(cls, data, invalid, handler)]
            if not together:
                raise
            raise _Broken([fault for found in alone for fault in paths_of(found)] + together) from None
        if broken := [Fault(*fault, None) for fault in section._faults()]:
            raise _Broken(broken)
        return section

    def _faults(self) -> Faults:
        """The broken rules about several fields; paths are relative to this section. _Unknown fields break none."""
        return iter(())


class _Unknown:
    """Replaces a field that is invalid by itself, so that it breaks no other rule."""

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
    """The broken rules about the valid fields, when others are invalid by themselves."""
    if not isinstance(data, Mapping):
        return
    names = {key: name for key, (name, _, _, _) in keys_of(section).items()}
    left_out = invalid | {names[key] for key in names.keys() & invalid}
    try:
        rest = handler({key: value for key, value in data.items() if key not in left_out})
    except ValidationError:  # a field that has no default
        return
    rest.__dict__.update({name: _Unknown() for name in left_out})
    yield from rest._faults()


class PurchaseLimits(Section):
    """The limits of a purchase in SOL; ``max_price_impact`` is a fraction, None for no limit."""

    minimum_agent_balance: Annotated[Number, Ge(Decimal("0.1"))] = Decimal("0.5")
    max_purchase_per_token: Annotated[Number, Gt(0)] = Decimal("2.0")
    max_price_impact: Annotated[Number, Ge(0), Le(1)] | None = Decimal("0.05")


class Signals(Section):
    """Which signals the agent acts on. An empty list of allowed types allows all; None means no bound."""

    min_score: Annotated[Whole, Ge(1), Le(5)] = 1
    allowed_signal_types: Annotated[tuple[SignalType, ...], AtMost(1000)] = ()
    token_filter_mode: TokenFilterMode = "none"  # noqa: S105  # tokens of a chain
    token_list: Annotated[tuple[Address, ...], AtMost(10_000)] = ()
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
    """The stop loss from this price change on, both in percent."""

    change: Annotated[Number, Gt(0)]
    stop_loss: Annotated[Number, Gt(0), Le(1000)]


class StopLoss(Section):
    """When the agent sells a losing position. Only the mode ``custom`` uses levels, the highest change first."""

    enabled: Flag = True
    default_percentage: Annotated[Number, Ge(-100), Le(0)] = Decimal(-32)
    mode: StopLossMode = "fixed"
    trailing_levels: Annotated[tuple[TrailingLevel, ...], AtMost(100)] = ()

    def _faults(self) -> Faults:
        if self.mode != "custom" or not self.enabled:
            return
        if not self.trailing_levels:
            yield "trailingLevels", "must have a level in the mode custom"
        for place, (before, level) in _neighbours(self.trailing_levels):
            if level.change >= before.change:
                yield f"trailingLevels[{place}].change", "is not less than the one before"


class BalanceThresholds(Section):
    """The SOL balances from which a wallet is small, medium or large."""

    minimum: Annotated[Number, Gt(0)] = Decimal("0.2")
    medium: Annotated[Number, Gt(0)] = Decimal(5)
    large: Annotated[Number, Gt(0)] = Decimal(10)

    def _faults(self) -> Faults:
        if self.medium <= self.minimum:
            yield "medium", "is not more than minimum"
        if self.large <= self.medium:
            yield "large", "is not more than medium"


class SizeRange(Section):
    """The smallest and the largest amount of a purchase, in SOL."""

    min: Annotated[Number, Ge(0)]
    max: Annotated[Number, Ge(0)]

    def _faults(self) -> Faults:
        if self.min > self.max:
            yield "min", "is more than max"


class PositionSizes(Section):
    """The size of a purchase for each size of wallet."""

    small: SizeRange = SizeRange(min=Decimal("0.1"), max=Decimal("0.1"))
    medium: SizeRange = SizeRange(min=Decimal("0.5"), max=Decimal("1.0"))
    large: SizeRange = SizeRange(min=Decimal("1.5"), max=Decimal("2.0"))


class Randomization(Section):
    """Whether the agent picks a random size in the range."""

    enabled: Flag = True


class PositionCalculator(Section):
    """How the agent calculates the size of a purchase."""

    sol_balance_thresholds: BalanceThresholds = BalanceThresholds()
    position_sizes: PositionSizes = PositionSizes()
    randomization: Randomization = Randomization()


class StaleTrade(Section):
    """When the agent sells a position whose price does not move."""

    enabled: Flag = True
    min_hold_time_minutes: Annotated[Number, Ge(1)] = Decimal(60)
    min_profit_percent: Number = Decimal(1)
    max_profit_percent: Number = Decimal(10)

    def _faults(self) -> Faults:
        if self.min_profit_percent > self.max_profit_percent:
            yield "minProfitPercent", "is more than maxProfitPercent"


class DcaLevel(Section):
    """How much to buy, in percent of the position, at this drop of the price in percent."""

    drop_percent: Annotated[Number, Ge(-99), Le(-1)]
    buy_percent: Annotated[Number, Ge(1), Le(500)]


class Dca(Section):
    """When the agent adds to a position. Only the mode ``custom`` uses levels."""

    enabled: Flag = False
    mode: DcaMode = "moderate"
    levels: Annotated[tuple[DcaLevel, ...], AtMost(100)] = ()
    max_dca_count: Annotated[Whole, Ge(1), Le(10)] = Field(default=3, alias="maxDCACount")
    cooldown_seconds: Annotated[Number, Ge(10), Le(3600)] = Decimal(30)

    def _faults(self) -> Faults:
        if self.mode == "custom" and self.enabled and not self.levels:
            yield "levels", "must have a level in the mode custom"
        for place, (before, level) in _neighbours(self.levels):
            if level.drop_percent > before.drop_percent:
                yield f"levels[{place}].dropPercent", "is more than the one before"


class TakeProfitLevel(Section):
    """How much to sell, in percent of the position, at this profit in percent."""

    target_percent: Annotated[Number, Ge(1), Le(10_000)]
    sell_percent: Annotated[Number, Ge(1), Le(100)]


class MoonBag(Section):
    """The share of the position to keep, in percent, from this profit in percent on."""

    enabled: Flag = True
    trigger_percent: Annotated[Number, Ge(1), Le(10_000)] = Decimal(300)
    retain_percent: Annotated[Number, Ge(1), Le(50)] = Decimal(10)


class TakeProfit(Section):
    """When the agent sells parts of a winning position."""

    enabled: Flag = False
    mode: TakeProfitMode = "moderate"
    levels: Annotated[tuple[TakeProfitLevel, ...], AtMost(10)] = tuple(
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


def paths_of(found: Any) -> Iterator[Fault]:
    """The faults in one error of pydantic."""
    path = ""
    for step in found["loc"]:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    error = found.get("ctx", {}).get("error")
    if isinstance(error, _Broken):
        yield from (fault._replace(field=f"{path}.{fault.field}" if path else fault.field) for fault in error.faults)
    else:
        yield Fault(shortened(path), said_of_fault(found), type(found["input"]).__name__)


@cache
def keys_of(section: type[Section]) -> dict[str, tuple[str, Any, type[Section] | None, int | None]]:
    """For each key of a document: the attribute, its default, the section that it holds, and how many of them a list
    may have, None when it is no list."""
    keys: dict[str, tuple[str, Any, type[Section] | None, int | None]] = {}
    for name, field in section.model_fields.items():
        kind: Any = field.annotation
        held: Any = get_args(kind)[0] if get_origin(kind) is tuple else kind
        is_section = isinstance(held, type) and issubclass(held, Section)
        longest = next((each.count for each in field.metadata if isinstance(each, AtMost)), None)
        keys[field.alias or name] = (name, field.default, held if is_section else None, longest)
    return keys
