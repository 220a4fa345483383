"""Makes rows of what a query returns: models without validation, tuples of models, or single values.

The contract has proved the types, so nothing is validated again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import itemgetter
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, Union, get_args, get_origin

import msgspec
from psycopg import Column
from pydantic import AwareDatetime, BaseModel, JsonValue

from nexgent_db.errors import QueryBindingError

__all__ = ["ExecutedCursor", "RowMaker", "is_model", "plain_type", "row_factory", "row_maker", "union_parts"]

RowMaker = Callable[[Sequence[Any]], Any]


class ExecutedCursor(Protocol):
    """A cursor after its execution."""

    @property
    def description(self) -> Sequence[Column] | None:
        """The columns of the result; None when there is none."""


def row_factory(row: Any, name: str) -> Callable[[ExecutedCursor], RowMaker]:
    """The row factory of one statement; it reads the columns once."""
    made: RowMaker | None = tuple if row is None else None

    def factory(cursor: ExecutedCursor) -> RowMaker:
        nonlocal made
        if made is None:
            made = row_maker(row, [column.name for column in cursor.description or ()], name)
        return made

    return factory


def row_maker(row: Any, columns: Sequence[str], name: str) -> RowMaker:
    """A function that makes a row of this type from the values of these columns.

    Models are built without validation: the contract has proved the types. Columns that are not exactly the
    model's fields (for a tuple of models: in their order) raise QueryBindingError.
    """
    if is_model(row):
        return _model_maker(row, tuple(columns), name)
    if get_origin(row) is tuple:
        return _side_by_side(get_args(row), tuple(columns), name)
    return _scalar_maker(tuple(columns), name)


def _model_maker(model: type[BaseModel], columns: tuple[str, ...], name: str) -> RowMaker:
    fields = model.model_fields
    if len(columns) != len(fields) or set(columns) != fields.keys():
        raise QueryBindingError(
            f"{name}: the columns ({', '.join(columns)}) are not the fields of {model.__name__} ({', '.join(fields)})"
        )
    if columns != tuple(fields):  # in the model's order, so that repr and model_dump are as ever
        pick = itemgetter(*(columns.index(field) for field in fields))
        in_order = _model_maker(model, tuple(fields), name)
        return lambda values: in_order(pick(values))

    # Generated for the model: a loop over its fields takes 1.5 times as long. Names of fields are identifiers.
    source = f"""
def make(values):
    instance = new(model)
    fields = instance.__dict__
    {", ".join(f"fields[{field!r}]" for field in fields)}, = values
    set_given(instance, given)
    set_extra(instance, None)
    set_private(instance, None)
    return instance
"""
    slots = vars(BaseModel)
    scope: dict[str, Any] = {
        "model": model,
        "new": object.__new__,
        "given": set(fields),
        "set_given": slots["__pydantic_fields_set__"].__set__,
        "set_extra": slots["__pydantic_extra__"].__set__,
        "set_private": slots["__pydantic_private__"].__set__,
    }
    exec(compile(source, f"<rows of {name}>", "exec"), scope)  # noqa: S102  # nothing in it comes from outside
    maker: RowMaker = scope["make"]
    return maker


def _side_by_side(parts: tuple[Any, ...], columns: tuple[str, ...], name: str) -> RowMaker:
    makers: list[tuple[int, int, bool, RowMaker]] = []
    start = 0
    for part in parts:
        model = union_parts(part)[0]
        end = start + len(model.model_fields)
        makers.append((start, end, NoneType in union_parts(part), _model_maker(model, columns[start:end], name)))
        start = end
    if start != len(columns):
        raise QueryBindingError(f"{name}: {len(columns)} columns for models of {start} fields")
    return lambda values: tuple(
        None if nullable and values[start] is None else make(values[start:end]) for start, end, nullable, make in makers
    )


def _scalar_maker(columns: tuple[str, ...], name: str) -> RowMaker:
    if len(columns) != 1:
        raise QueryBindingError(f"{name}: one column expected, got {', '.join(columns)}")
    return lambda values: values[0]


# --- Annotations -----------------------------------------------------------------------------------


def is_model(annotation: Any) -> bool:
    """Whether rows of this type are models."""
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def union_parts(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def plain_type(annotation: Any) -> Any:
    """The type for msgspec, without what only pydantic understands."""
    if annotation == JsonValue:
        return Any
    if annotation is AwareDatetime:
        return Annotated[datetime, msgspec.Meta(tz=True)]
    if get_origin(annotation) is Annotated:
        return plain_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return Union[tuple(plain_type(part) for part in get_args(annotation))]  # noqa: UP007  # made of a list
    return annotation
