"""The PostgreSQL types that an annotation stands for.

===================================  =========================================================
annotation                           PostgreSQL types
===================================  =========================================================
UUID                                 uuid
str                                  text, varchar, char, name, enums
Literal of strings                   the same, and only these values
int                                  int2, int4, int8 (a parameter is always sent as int8)
Decimal (with ``Exact(p, s)``)       numeric (p, s)
bool                                 bool
datetime, AwareDatetime              timestamptz
date, time, timedelta                date, time, interval
bytes                                bytea
float                                float4, float8; never numeric
JsonValue, dict                      json, jsonb
list[X]                              an array of X's types
===================================  =========================================================

``X | None`` may be NULL. JsonValue fits columns with and without NULL.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, JsonValue

from nexgent_db.contract._catalog import ServerCatalog
from nexgent_db.contract._problem import shown_path
from nexgent_db.models.base import Exact
from nexgent_db.queries.values import NotGiven

__all__ = ["Declared", "declared", "field_place", "fields_of"]

_STRINGS: Final = ("text", "varchar", "bpchar", "name")
_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "UUID": ("uuid",),
    "str": _STRINGS,
    "int": ("int2", "int4", "int8"),
    "Decimal": ("numeric",),
    "bool": ("bool",),
    "datetime": ("timestamptz",),
    "date": ("date",),
    "time": ("time",),
    "timedelta": ("interval",),
    "bytes": ("bytea",),
    "float": ("float4", "float8"),
    "json": ("json", "jsonb"),
}
_KINDS: Final[dict[Any, str]] = {
    UUID: "UUID",
    str: "str",
    int: "int",
    Decimal: "Decimal",
    bool: "bool",
    datetime: "datetime",
    AwareDatetime: "datetime",
    date: "date",
    time: "time",
    timedelta: "timedelta",
    bytes: "bytes",
    float: "float",
}
_SENT: Final[Mapping[str, str]] = {
    "UUID": "uuid",
    "int": "int8",
    "Decimal": "numeric",
    "bool": "bool",
    "datetime": "timestamptz",
    "date": "date",
    "bytes": "bytea",
    "float": "float8",
    "json": "jsonb",
    "timedelta": "interval",
}
"""The type that the driver sends with a value; for a string it lets PostgreSQL infer the type."""


@dataclass(frozen=True, slots=True)
class Declared:
    """One annotation: its PostgreSQL types, values, precision and NULL."""

    kind: str  # of _TYPES; "list"; or "?" for an annotation that stands for no PostgreSQL type
    text: str
    nullable: bool
    either: bool = False  # JsonValue: None is one of its values
    values: frozenset[str] | None = None
    exact: tuple[int, int] | None = None
    element: Declared | None = None

    def accepts(self, oid: int, catalog: ServerCatalog) -> bool:
        """Whether the annotation fits values of this PostgreSQL type."""
        if self.element is not None:
            inner = catalog.element(oid)
            return bool(inner) and self.element.accepts(inner, catalog)
        if self.kind == "str" and oid in catalog.enums:
            return True
        return catalog.type_name(oid) in _TYPES.get(self.kind, ())

    def expects(self) -> str:
        """The PostgreSQL types that the annotation accepts, for messages."""
        if self.element is not None:
            return f"an array of {self.element.expects()}"
        return " or ".join(_TYPES.get(self.kind, ("no PostgreSQL type",)))

    def sent_as(self, catalog: ServerCatalog) -> int:
        """The OID of the type that the driver sends with a value; 0 when it sends none."""
        if self.element is not None:
            return catalog.by_name.get(f"{_SENT.get(self.element.kind)}[]", 0)
        return catalog.by_name.get(_SENT.get(self.kind, ""), 0)


@cache
def _hints(model: type) -> dict[str, Any]:
    return get_type_hints(model, include_extras=True)


def fields_of(model: type[BaseModel]) -> dict[str, Declared]:
    """The fields of a model."""
    hints = _hints(model)
    return {name: declared(hints[name]) for name in model.model_fields}


def declared(annotation: Any) -> Declared:
    """Parse an annotation."""
    metadata: list[Any] = []
    nullable = False
    text = _shown(annotation)
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            metadata += more
        elif annotation == JsonValue or origin in (dict, Mapping) or annotation is dict:
            either = annotation == JsonValue
            return Declared("json", text, nullable or either, either)
        elif origin in (Union, UnionType):
            parts = [part for part in get_args(annotation) if part is not NoneType and part is not NotGiven]
            nullable = nullable or NoneType in get_args(annotation)
            if len(parts) != 1:
                return Declared("?", text, nullable)
            annotation = parts[0]
        else:
            break
    if origin is Literal:
        values = get_args(annotation)
        kind = "str" if all(isinstance(value, str) for value in values) else "?"
        return Declared(kind, text, nullable, values=frozenset(map(str, values)))
    if origin is list:
        return Declared("list", text, nullable, element=declared(get_args(annotation)[0]))
    exact = next(((each.precision, each.scale) for each in metadata if isinstance(each, Exact)), None)
    return Declared(_KINDS.get(annotation, "?"), text, nullable, exact=exact)


def _shown(annotation: Any) -> str:
    if annotation == JsonValue:
        return "JsonValue"
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        exact = next((each for each in metadata if isinstance(each, Exact)), None)
        return f"{_shown(inner)}({exact.precision},{exact.scale})" if exact else _shown(inner)
    if origin in (Union, UnionType):
        return " | ".join("None" if part is NoneType else _shown(part) for part in get_args(annotation))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, get_args(annotation)))}]"
    if origin is not None:
        return f"{origin.__name__}[{', '.join(map(_shown, get_args(annotation)))}]"
    return getattr(annotation, "__name__", str(annotation))


@cache
def field_place(model: type[BaseModel], name: str) -> str | None:
    """``file:line`` of a model's field."""
    for owner in model.__mro__:
        if name in vars(owner).get("__annotations__", {}):
            try:
                lines, first = inspect.getsourcelines(owner)
            except (OSError, TypeError):
                return None
            for place, line in enumerate(lines):
                if re.match(rf"\s+{name}\s*:", line):
                    return f"{shown_path(inspect.getfile(owner))}:{first + place}"
    return None
