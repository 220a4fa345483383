"""Checks the arguments of a query and prepares them for the driver, by the annotations of its method. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, get_args, get_origin

from psycopg.types.json import Jsonb
from pydantic import ConfigDict, JsonValue, TypeAdapter, ValidationError

from nexgent_db.errors import InvalidInput
from nexgent_db.models.base import Input
from nexgent_db.models.storable import place_of_fault, said_of_fault
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
            raise InvalidInput(name, "is beyond 64 bits")
        return (checked if prepare is None or checked is None else prepare(checked),)

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

    def fill_in_steps(value: list[Any]) -> FillSteps:
        if longest is not None and len(value) > longest:
            return fill(value)  # refused for its length
        checked: list[Any] = []
        for start in range(0, len(value), SLICE_SIZE):
            yield
            try:
                checked += validate(value[start : start + SLICE_SIZE])
            except ValidationError as error:
                raise _unfit(name, error, start) from None
        return (checked,)

    return fill_in_steps


def has_list(annotation: Any) -> bool:
    """Whether an argument, or a field of an input, may be a list."""
    if inspect.isclass(annotation) and issubclass(annotation, Input):
        return any(has_list(field.annotation) for field in annotation.model_fields.values())
    return get_origin(annotation) is list or any(map(has_list, get_args(annotation)))


def input_filler(name: str, model: type[Input]) -> Fill:
    """Takes the fields of an input, which were checked when it was made."""
    prepares = {field: _prepare(found.annotation) for field, found in model.model_fields.items()}

    def fill(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, model):
            raise InvalidInput(name, f"{model.__name__} expected, {type(value).__name__} given")
        given = value.__dict__
        return tuple(
            [
                item if (item := given[field]) is None or prepare is None else prepare(item)
                for field, prepare in prepares.items()
            ]
        )

    return fill


def _prepare(annotation: Any) -> Callable[[Any], Any] | None:
    """How a checked value of this type is handed to the driver; None: as it is."""
    parts = union_parts(annotation)
    if any(part == JsonValue or get_origin(part) is dict for part in parts):
        return Jsonb
    return None
