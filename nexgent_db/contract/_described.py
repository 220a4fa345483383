"""Describes a query without a database: from its text, its method and the committed contract."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from nexgent_db.contract._source import Source
from nexgent_db.models.base import Input
from nexgent_db.queries.binding import BoundQuery, method_place
from nexgent_db.queries.values import NOT_GIVEN

__all__ = ["Argument", "NamedQuery", "Result", "described"]


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter of the statement. ``argument`` is its Python argument or field, such as ``filter.time_from``."""

    name: str
    type: str
    nullable: bool
    may_be_left_out: bool
    argument: str


@dataclass(frozen=True, slots=True)
class Result:
    """A column of the statement's rows; nullable when any variant can give NULL."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedQuery:
    """One query of ``sql/``. ``rows`` is the proved number of rows: one, at most one, many or none."""

    name: str
    file: str
    cardinality: str
    rows: str
    promise: str
    path: Path
    line: int
    text: str
    parameters: tuple[Argument, ...]
    columns: tuple[Result, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    indexes: tuple[str, ...]
    variants: int
    signature: str | None
    """The signature of the method that runs the query; None when no method does."""
    method: tuple[Path, int] | None
    """The place of that method."""

    @property
    def first_sentence(self) -> str:
        """The first sentence of the promise."""
        return re.split(r"(?<=\.)\s", self.promise, maxsplit=1)[0]


def described(sources: Iterable[Source], contract: Mapping[str, Any] | None) -> list[NamedQuery]:
    """All queries, in the order of the sources. One without a contract entry has no types, tables and indexes."""
    outcomes: dict[str, list[Mapping[str, Any]]] = {}
    for line in contract["queries"] if contract else ():
        outcomes.setdefault(line["query"], []).append(line)
    return [_described(source, outcomes.get(source.query.qualified_name, [])) for source in sources]


def _described(source: Source, outcomes: list[Mapping[str, Any]]) -> NamedQuery:
    query, bound = source.query, source.bound
    types: dict[str, str] = {}
    columns: dict[tuple[int, str, str], bool] = {}
    for outcome in outcomes:
        types |= dict(_pairs(outcome["parameters"]))
        for place, (name, type_) in enumerate(_pairs(outcome["columns"])):
            key = place, name, type_.rstrip("?")
            columns[key] = columns.get(key, False) or type_.endswith("?")
    arguments = _arguments(bound) if bound else {}
    return NamedQuery(
        name=query.qualified_name,
        file=query.file,
        cardinality=str(query.cardinality),
        rows=outcomes[0]["rows"] if outcomes else "",
        promise=_promise(query.doc),
        path=query.path,
        line=query.line,
        text=source.sql,
        parameters=tuple(
            Argument(
                name,
                types.get(name, "").rstrip("?"),
                types.get(name, "").endswith("?"),
                name not in query.required,
                arguments.get(name, name),
            )
            for name in query.parameters
        ),
        columns=tuple(Result(name, type_, nullable) for (_, name, type_), nullable in columns.items()),
        reads=_all(outcomes, "reads"),
        writes=_all(outcomes, "writes"),
        indexes=_all(outcomes, "indexes"),
        variants=sum(outcome.get("variants", 1) for outcome in outcomes),
        signature=_signature(bound) if bound else None,
        method=_method(bound) if bound else None,
    )


def _pairs(listed: str) -> Iterable[tuple[str, str]]:
    """Split ``id uuid, name varchar(20)?``; no type contains a comma before a space."""
    for each in listed.split(", ") if listed else ():
        name, _, type_ = each.partition(" ")
        yield name, type_


def _all(outcomes: list[Mapping[str, Any]], key: str) -> tuple[str, ...]:
    return tuple(sorted({name for outcome in outcomes for name in outcome.get(key, ())}))


def _promise(doc: str) -> str:
    """The query's comment on one line, without its ``-- check:`` reasons."""
    kept = re.split(r"^check:", doc, maxsplit=1, flags=re.MULTILINE)[0]
    return " ".join(kept.split())


# --- The method -----------------------------------------------------------------------------------


def _method(bound: BoundQuery) -> tuple[Path, int]:
    path, _, line = method_place(bound.method).rpartition(":")
    return Path(path), int(line)


def _arguments(bound: BoundQuery) -> dict[str, str]:
    """By parameter of the statement: the argument, or the field of an argument, that supplies its value."""
    hints = get_type_hints(bound.method)
    found: dict[str, str] = {}
    for name in list(inspect.signature(bound.method).parameters)[1:]:
        if inspect.isclass(hints[name]) and issubclass(hints[name], Input):
            found |= {field: f"{name}.{field}" for field in hints[name].model_fields}
        else:
            found[name] = name
    return found


_WIDTH: Final = 100


def _signature(bound: BoundQuery) -> str:
    """``PositionRepository.find_by_id(position_id: UUID) -> AgentPosition | None``; several lines if it is long."""
    signature = inspect.signature(bound.method)
    arguments = [
        f"{each.name}: {_shown(each.annotation)}{_default(each.default)}"
        for each in list(signature.parameters.values())[1:]
    ]
    called = bound.method.__qualname__.rpartition("<locals>.")[2]
    result = _shown(signature.return_annotation)
    line = f"{called}({', '.join(arguments)}) -> {result}"
    if len(line) <= _WIDTH:
        return line
    return f"{called}(\n" + "".join(f"    {each},\n" for each in arguments) + f") -> {result}"


def _shown(annotation: object) -> str:
    """An annotation as it is written, or nearly: a module without postponed annotations keeps objects."""
    if isinstance(annotation, str):
        return annotation
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _shown(parts[0])
    if origin in (Union, UnionType):
        return " | ".join(map(_shown, parts))
    if parts:
        return f"{getattr(origin, '__name__', origin)}[{', '.join(map(_shown, parts))}]"
    return "None" if annotation is NoneType else getattr(annotation, "__qualname__", repr(annotation))


def _default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if value is NOT_GIVEN:
        return " = NOT_GIVEN"
    return f" = {type(value).__name__}()" if isinstance(value, Input) else f" = {value!r}"
