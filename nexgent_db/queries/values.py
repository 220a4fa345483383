"""Checks the arguments of a query and prepares them for the driver, by the annotations of its method. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin

from psycopg.types.json import Json, Jsonb
from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from nexgent_db.errors import InvalidInput
from nexgent_db.models.base import Input
from nexgent_db.models.storable import document_text, ensure_flat, place_of_fault, said_of_fault, storable_json_text
from nexgent_db.queries.dumping import SLICE_SIZE
from nexgent_db.queries.rows import union_parts

MAX_BIGINT: Final = 2**63 - 1

Fill = Callable[[Any], tuple[Any, ...]]
"""Checks an argument and makes the values of its SQL parameters. Raises InvalidInput."""

FillSteps = Generator[None, None, tuple[Any, ...]]
"""A computation that lets others run between its steps."""


class NotGiven(Enum):
    """The type of NOT_GIVEN: a column that a partial update leaves alone, where None would mean NULL."""

    NOT_GIVEN = "not given"


NOT_GIVEN: Final = NotGiven.NOT_GIVEN


@cache  # most arguments share a few annotations
def _validator(annotation: Any) -> Callable[[Any], Any]:
    # The adapter's own method would add to each argument what the check itself takes.
    return TypeAdapter[Any](annotation, config=ConfigDict(strict=True)).validator.validate_python


def value_filler(name: str, annotation: Any, *, may_be_left_out: bool) -> Fill:
    """Checks one value of this type."""
    validate = _validator(annotation)
    prepare = _prepare(annotation)

    def fill(value: Any) -> tuple[Any, ...]:
        if value is NOT_GIVEN:
            if may_be_left_out:
                return (None,)  # in no place of the statement
            raise InvalidInput(name, "must be given")
        try:
            checked = validate(value)
        except ValidationError as error:
            raise _unfit(name, error) from None
        if type(checked) is int and not -MAX_BIGINT - 1 <= checked <= MAX_BIGINT:
            raise InvalidInput(name, _TOO_BIG)
        return (checked if prepare is None or checked is None else prepare(name, checked),)

    return fill


def _unfit(name: str, error: ValidationError, start: int = 0) -> InvalidInput:
    """The first fault; that of an item in a list of which the first ``start`` items were checked before."""
    fault = error.errors(include_url=False, include_context=False)[0]
    if start and fault["loc"]:
        first, *rest = fault["loc"]
        assert isinstance(first, int)
        fault["loc"] = (start + first, *rest)
    where = f"at {place_of_fault(fault)}: " if fault["loc"] else ""
    return InvalidInput(name, where + said_of_fault(fault))


def list_filler(name: str, annotation: Any, fill: Fill) -> Callable[[list[Any]], FillSteps] | None:
    """Checks a list slice by slice, when its annotation says nothing of the whole but its greatest length."""
    longest: int | None = None
    if get_origin(annotation) is Annotated:
        annotation, *metadata = get_args(annotation)
        constraints = [each for data in metadata for each in getattr(data, "metadata", (data,))]
        longest = getattr(constraints[0], "max_length", None) if len(constraints) == 1 else None
        if longest is None or hasattr(constraints[0], "min_length"):
            return None
    if get_origin(annotation) is not list:
        return None
    validate = _validator(annotation)
    has_ints = _holds_ints(annotation)

    def fill_in_steps(value: list[Any]) -> FillSteps:
        if longest is not None and len(value) > longest:
            return fill(value)  # refused for its length
        checked: list[Any] = []
        for start in range(0, len(value), SLICE_SIZE):
            yield
            try:
                part = validate(value[start : start + SLICE_SIZE])
            except ValidationError as error:
                raise _unfit(name, error, start) from None
            if has_ints:
                _ensure_bigints(name, part, start)
            checked += part
        return (checked,)

    return fill_in_steps


def has_list(annotation: Any) -> bool:
    """Whether an argument, or a field of an input, may be a list."""
    if inspect.isclass(annotation) and issubclass(annotation, Input):
        return any(has_list(field.annotation) for field in annotation.model_fields.values())
    return get_origin(annotation) is list or any(map(has_list, get_args(annotation)))


def input_filler(name: str, model: type[Input]) -> Fill:
    """Takes the fields of an input, which were checked when it was made."""
    prepares = {name: _prepare_field(field) for name, field in model.model_fields.items()}

    def fill(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, model):
            raise InvalidInput(name, f"{model.__name__} expected, {type(value).__name__} given")
        given = value.__dict__
        return tuple(
            [
                item if (item := given[field]) is None or prepare is None else prepare(field, item)
                for field, prepare in prepares.items()
            ]
        )

    return fill


def _prepare_field(field: FieldInfo) -> Callable[[str, Any], Any] | None:
    """The same for a field of an input: an int has bounds there, or gets those of a bigint here."""
    bounds = [name for each in field.metadata for name in ("ge", "le") if hasattr(each, name)]
    if int in union_parts(field.annotation) and len(bounds) < 2:
        return _bigint
    return _prepare(field.annotation)


def _prepare(annotation: Any) -> Callable[[str, Any], Any] | None:
    """How a checked value of this type is handed to the driver; None: as it is."""
    parts = union_parts(annotation)
    if any(part == JsonValue or get_origin(part) is dict for part in parts):
        return document
    if _holds_ints(annotation):
        return _bigints
    return None


def _bigints(name: str, items: Any) -> Any:
    if type(items) is list or type(items) is tuple:
        _ensure_bigints(name, items)
    return items


def _bigint(name: str, number: Any) -> Any:
    if type(number) is int and not -MAX_BIGINT - 1 <= number <= MAX_BIGINT:
        raise InvalidInput(name, _TOO_BIG)
    return number


def document(name: str, value: object) -> Jsonb:
    """A JSON document, written here. Raises InvalidInput when it cannot be written or stored, is nested too deeply or
    is longer than MAX_JSON_BYTES."""
    try:
        text = document_text(value)
        ensure_flat(text)
    except ValueError as error:
        raise InvalidInput(name, str(error)) from None
    return Jsonb(text, dumps=str)


def prepared(name: str, value: object) -> object:
    """A value of no declared type for the driver. Raises InvalidInput for one that is too large or would be rounded."""
    if isinstance(value, float):
        raise InvalidInput(name, "a float rounds: pass a Decimal")
    if isinstance(value, int) and not -MAX_BIGINT - 1 <= value <= MAX_BIGINT:
        raise InvalidInput(name, _TOO_BIG)
    if isinstance(value, dict):
        return document(name, value)
    if isinstance(value, Json | Jsonb):
        return _checked_wrapper(name, value)
    if isinstance(value, list | tuple):
        _ensure_bigints(name, value)
    return value


def _checked_wrapper(name: str, value: Json | Jsonb) -> Json | Jsonb:
    """A document in the driver's own wrapper. What its own function writes is looked at, too."""
    if value.dumps is None:
        text = document(name, value.obj).obj
    else:
        written = value.dumps(value.obj)
        try:
            text = written if isinstance(written, str) else bytes(written).decode()
            storable_json_text(text)
            ensure_flat(text)
        except ValueError as error:
            raise InvalidInput(name, str(error)) from None
    return type(value)(text, dumps=str)


_TOO_BIG: Final = "is beyond 64 bits"
MAX_DIMENSIONS: Final = 6
"""Of an array in PostgreSQL (MAXDIM). A tuple, which becomes a row, counts as one."""


def _holds_ints(annotation: Any, *, inside: bool = False) -> bool:
    """Whether values of this type are lists or tuples with integers."""
    inside = inside or get_origin(annotation) in (list, tuple)
    return (inside and annotation is int) or any(_holds_ints(part, inside=inside) for part in get_args(annotation))


def _ensure_bigints(name: str, items: Any, start: int = 0, depth: int = 1) -> None:
    """Raises InvalidInput for an integer in a list that is beyond 64 bits; one of thousands of digits has no text."""
    if depth > MAX_DIMENSIONS:
        raise InvalidInput(name, f"an array has at most {MAX_DIMENSIONS} dimensions")
    for place, item in enumerate(items, start):
        if type(item) is int and not -MAX_BIGINT - 1 <= item <= MAX_BIGINT:
            raise InvalidInput(name, f"at {place}: {_TOO_BIG}")
        if type(item) is list or type(item) is tuple:
            _ensure_bigints(name, item, depth=depth + 1)
