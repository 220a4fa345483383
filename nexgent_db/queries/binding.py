"""Binds a typed method to its named query: parameters from the signature, rows to the model it returns.

Everything is decided once, when the repository class is created. A name, parameter or cardinality that differs
between the method and the file raises QueryBindingError there, with both places. Pure: how a bound query is run
is decided in ``aio`` and ``sync``.

What an annotation stands for:

- parameter: a plain value, checked before it is sent; or an :class:`~nexgent_db.models.base.Input`, which was
  checked when it was made, and gives its fields as parameters.
- an optional parameter (``-- if given``) has the default None or NOT_GIVEN, which means: not given. In an input, a
  field that is None is not given.
- a parameter ``limit`` with the default None: all rows, or ListTooLong when there are more than MAX_LIST.
- result: a Row model; a tuple of Row models for columns side by side (the second and later ones are None when
  their first column is NULL, as an outer join gives them); or a single plain value. ``:one`` returns it,
  ``:optional`` it or None, ``:many`` a list of it, ``:stream`` an iterator; ``:rows`` returns int, ``:exec`` None.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file
from importlib.resources.abc import Traversable
from pathlib import Path
from types import NoneType
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar, get_args, get_origin, get_type_hints

from nexgent_db.errors import InvalidInput, ListTooLong, NoRow, QueryBindingError, TooManyRows
from nexgent_db.models.base import MAX_LIST, Input
from nexgent_db.queries.dumping import dump_in_steps, is_long
from nexgent_db.queries.rows import ExecutedCursor, RowMaker, is_model, row_factory, union_parts
from nexgent_db.queries.sqlfile import SqlFile, load_file
from nexgent_db.queries.statement import Cardinality, Query
from nexgent_db.queries.values import (
    NOT_GIVEN,
    Fill,
    FillSteps,
    has_list,
    input_filler,
    list_filler,
    value_filler,
)
from nexgent_db.resources import data_dir

P = ParamSpec("P")
R = TypeVar("R")

_MARK: Final = "_is_named_query"


def query(method: Callable[P, R]) -> Callable[P, R]:
    """Mark a repository method whose body is the named query of the same name."""
    setattr(method, _MARK, True)
    return method


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One argument of the method: what it is called, how it is checked, which SQL parameters it fills."""

    name: str
    default: object
    fill: Fill
    fill_in_steps: Callable[[list[Any]], FillSteps] | None
    """The same for a long list; None when it must be checked at once."""
    sql_names: tuple[str, ...]
    is_input: bool

    def given(self, value: object, filled: tuple[Any, ...]) -> Iterable[str]:
        """The SQL parameters that this argument gives: an input's fields that are not None, or the value itself."""
        if self.is_input:
            return (name for name, field in zip(self.sql_names, filled, strict=True) if field is not None)
        return () if value is self.default else self.sql_names


class Call(NamedTuple):
    """A statement ready to send: its text, the values of ``$1 … $n``, and the row factory of its answer.

    ``whole``: the caller gave no limit, so the answer must be the whole list.
    """

    text: bytes
    values: tuple[Any, ...]
    row_factory: Any
    whole: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """One variant: its text and, for each ``$n``, the argument and the place among the values of that argument."""

    text: bytes
    places: tuple[tuple[int, int], ...]
    row_factory: Callable[[ExecutedCursor], RowMaker]


class BoundQuery:
    """A named query and the method bound to it."""

    changes_cached_rows: bool | None = None
    """Can it change rows of the cache? None until a session asks."""
    only_reads: bool | None = None
    """Does its text only read? None until it is asked for a replica."""

    def __init__(self, query: Query, method: Callable[..., object]) -> None:
        self.query = query
        self.name = query.qualified_name
        self.method = method
        self.doc = inspect.getdoc(method)
        hints = get_type_hints(method, include_extras=True)
        self._parameters = tuple(_parameters(query, method, hints))
        self._fills = tuple(parameter.fill for parameter in self._parameters)
        self.takes_lists = any(has_list(hints[parameter.name]) for parameter in self._parameters)
        """May a call have long lists? Then it is made in steps."""
        self._names = {parameter.name: place for place, parameter in enumerate(self._parameters)}
        self.result = _result_type(query, method, hints)
        self.shape = _SHAPES.get(query.cardinality)
        """What the list of rows becomes; None for a query that returns no rows."""
        self.counts = query.cardinality is Cardinality.ROWS
        self.streams = query.cardinality is Cardinality.STREAM
        self._optional = frozenset().union(*query.optional) - query.required
        self._limit = next((n for n, each in enumerate(self._parameters) if each.name == "limit"), None)
        self._plans: dict[frozenset[str], _Plan] = {}
        self._whole = None if self._optional else self._plan(frozenset(query.parameters))

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Check the arguments and put them in their places. Raises InvalidInput with the parameter's name."""
        arguments = self._arguments(args, kwargs)
        filled = [fill(value) for fill, value in zip(self._fills, arguments, strict=True)]
        return self._placed(arguments, filled)

    def steps(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Generator[None, None, Call]:
        """The same as ``call``, with steps between which others may run when there are long lists."""
        arguments = self._arguments(args, kwargs)
        filled: list[tuple[Any, ...]] = []
        for parameter, value in zip(self._parameters, arguments, strict=True):
            if parameter.fill_in_steps is not None and is_long(value):
                filled.append((yield from parameter.fill_in_steps(value)))
            else:
                filled.append(parameter.fill(value))
        call = self._placed(arguments, filled)
        return call._replace(values=(yield from dump_in_steps(call.values)))

    def _placed(self, arguments: list[Any], filled: list[tuple[Any, ...]]) -> Call:
        """The call of checked arguments, each in its places."""
        whole = False
        if (limit := self._limit) is not None and arguments[limit] is None:
            whole, filled[limit] = True, (MAX_LIST + 1,)
        plan = self._whole
        if plan is None:
            given = map(_Parameter.given, self._parameters, arguments, filled)
            plan = self._plan(self.query.required.union(*given))
        values = tuple([filled[argument][place] for argument, place in plan.places])
        return Call(plan.text, values, plan.row_factory, whole)

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
        parameters = self._parameters
        if not kwargs and len(args) == len(parameters):
            return list(args)
        arguments: list[Any] = [*args, *(parameter.default for parameter in parameters[len(args) :])]
        for name, value in kwargs.items():
            place = self._names.get(name, -1)
            if place < len(args):
                problem = "unexpected" if place < 0 else "repeated"
                raise TypeError(f"{self.name}() got the {problem} argument {name!r}")
            arguments[place] = value
        if len(args) > len(parameters):
            raise TypeError(f"{self.name}() takes {len(parameters)} arguments, {len(args)} were given")
        for parameter, value in zip(parameters, arguments, strict=True):
            if value is inspect.Parameter.empty:
                raise TypeError(f"{self.name}() misses the argument {parameter.name!r}")
        return arguments

    def _plan(self, given: frozenset[str]) -> _Plan:
        plan = self._plans.get(given)
        if plan is None:
            statement = self.query.statement(given)
            where = {
                sql_name: (argument, place)
                for argument, parameter in enumerate(self._parameters)
                for place, sql_name in enumerate(parameter.sql_names)
            }
            places = tuple(where[name] for name in statement.parameters)
            plan = self._plans[given] = _Plan(statement.text.encode(), places, row_factory(self.result, self.name))
        return plan


def rows_to_read(limit: int | None) -> int:
    """How many rows a list of this limit reads; None is no limit. Raises InvalidInput outside of 1 to 10,000."""
    if limit is None:
        return MAX_LIST + 1
    if type(limit) is not int or not 1 <= limit <= MAX_LIST:
        raise InvalidInput("limit", f"a list has 1 to {MAX_LIST:,} rows")
    return limit


def ensure_whole(rows: Sequence[object], name: str) -> None:
    """Raises ListTooLong when there are more rows than a list without a limit returns."""
    if len(rows) > MAX_LIST:
        raise ListTooLong(name, MAX_LIST)


def _one(rows: Sequence[Any], name: str) -> Any:
    if len(rows) != 1:
        raise (TooManyRows if rows else NoRow)(name, "one row", f"{len(rows)} rows" if rows else "none")
    return rows[0]


def _optional(rows: Sequence[Any], name: str) -> Any:
    if len(rows) > 1:
        raise TooManyRows(name, "at most one row", f"{len(rows)} rows")
    return rows[0] if rows else None


_SHAPES: Final[dict[Cardinality, Callable[[Sequence[Any], str], Any]]] = {
    Cardinality.ONE: _one,
    Cardinality.OPTIONAL: _optional,
    Cardinality.MANY: lambda rows, _: rows,
}


def bind_repository(cls: type, sql: str | Traversable) -> dict[str, BoundQuery]:
    """Every query of the file bound to the method of ``cls`` that is marked with ``@query``.

    ``sql`` is the path of a service's file, or the name of one of this package. Raises SqlFileError for a file that
    cannot be read; QueryBindingError for one whose name another file has, as it qualifies the queries' names, and for
    all disagreements at once: a query without a method, a method without a query, or one that differs from its query.
    """
    source = _load(sql) if isinstance(sql, str) else _load_own(sql)
    methods = {name: value for name, value in vars(cls).items() if getattr(value, _MARK, False)}
    problems = [
        f"{method_place(method)}: {cls.__name__}.{name} has no query in {source.path}"
        for name, method in methods.items()
        if name not in source.queries
    ]
    bound: dict[str, BoundQuery] = {}
    for name, found in source.queries.items():
        if name not in methods:
            problems.append(f"{found.path}:{found.line}: {found.qualified_name} has no method in {cls.__name__}")
            continue
        try:
            bound[name] = BoundQuery(found, methods[name])
        except QueryBindingError as error:
            problems.append(str(error))
    if problems:
        raise QueryBindingError("; ".join(problems))
    if not isinstance(sql, str):
        _OWN_FILES[source.name] = source.path
    return bound


@cache
def _load(file_name: str) -> SqlFile:
    return load_file(data_dir("sql") / f"{file_name}.sql")


def _load_own(sql: Traversable) -> SqlFile:
    with as_file(sql) as path:
        source = load_file(path)
    ours = data_dir("sql") / f"{source.name}.sql"
    taken_by = ours if ours.exists() else _OWN_FILES.get(source.name, source.path)
    if taken_by != source.path:
        raise QueryBindingError(
            f"{source.path}:1: its queries would have the names of those of {taken_by}: rename the file"
        )
    return source


_OWN_FILES: Final[dict[str, Path]] = {}
"""The services' files that are bound, by the name that qualifies their queries."""


def method_place(method: Callable[..., object]) -> str:
    """``file:line`` of a method, for messages."""
    code = inspect.unwrap(method).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


# --- Parameters ---------------------------------------------------------------------------------


def _parameters(query: Query, method: Callable[..., object], hints: Mapping[str, Any]) -> Iterator[_Parameter]:
    declared: dict[str, str] = {}
    optional = frozenset().union(*query.optional) - query.required
    for item in list(inspect.signature(method).parameters.values())[1:]:  # without self
        annotation = hints.get(item.name)
        if annotation is None:
            raise _disagree(query, method, f"the argument {item.name!r} has no annotation")
        if inspect.isclass(annotation) and issubclass(annotation, Input):
            defaults = {name: field.get_default() for name, field in annotation.model_fields.items()}
            names = tuple(defaults)
            fill = input_filler(item.name, annotation)
            parameter = _Parameter(item.name, item.default, fill, None, names, is_input=True)
        else:
            defaults = {item.name: item.default}
            names = (item.name,)
            fill = value_filler(item.name, annotation, may_be_left_out=item.default is NOT_GIVEN)
            in_steps = list_filler(item.name, annotation, fill)
            parameter = _Parameter(item.name, item.default, fill, in_steps, names, is_input=False)
        for name in names:
            if name in declared:
                raise _disagree(query, method, f":{name} is given twice, by {declared[name]!r} and {item.name!r}")
            declared[name] = item.name
            if name in optional and defaults[name] is not None and defaults[name] is not NOT_GIVEN:
                raise _disagree(query, method, f":{name} may be left out, so it must default to None or NOT_GIVEN")
            if name not in optional and defaults[name] is NOT_GIVEN:
                raise _disagree(query, method, f":{name} is always sent, so it cannot default to NOT_GIVEN")
        yield parameter
    in_file = set(query.parameters)
    if missing := sorted(in_file - declared.keys()):
        raise _disagree(query, method, "the method lacks " + ", ".join(f":{name}" for name in missing))
    if surplus := sorted(declared.keys() - in_file):
        raise _disagree(query, method, "the query lacks " + ", ".join(f":{name}" for name in surplus))


# --- Results ------------------------------------------------------------------------------------


def _result_type(query: Query, method: Callable[..., object], hints: Mapping[str, Any]) -> Any:
    """The type of one row, after comparing the annotation's shape with the cardinality; None without rows."""
    if "return" not in hints:
        raise _disagree(query, method, "the method does not say what it returns")
    returns = hints["return"]
    match query.cardinality:
        case Cardinality.EXEC:
            fits, row = returns is NoneType, None
        case Cardinality.ROWS:
            fits, row = returns is int, None
        case Cardinality.MANY:
            fits = get_origin(returns) is list
            row = get_args(returns)[0] if fits else None
        case Cardinality.OPTIONAL:
            parts = union_parts(returns)
            fits = len(parts) == 2 and parts[1] is NoneType
            row = parts[0]
        case Cardinality.ONE:
            fits, row = returns is not NoneType and NoneType not in union_parts(returns), returns
        case Cardinality.STREAM:
            fits = get_origin(returns) in (AsyncIterator, Iterator)
            row = get_args(returns)[0] if fits else None
    if not fits or (row is not None and get_origin(row) is list):
        expected = {
            Cardinality.EXEC: "None",
            Cardinality.ROWS: "int",
            Cardinality.MANY: "list[…]",
            Cardinality.OPTIONAL: "… | None",
            Cardinality.ONE: "one row, never None",
            Cardinality.STREAM: "AsyncIterator[…], or Iterator[…] without async",
        }[query.cardinality]
        raise _disagree(query, method, f":{query.cardinality} returns {expected}, the method declares {returns}")
    if get_origin(row) is tuple and not all(is_model(union_parts(part)[0]) for part in get_args(row)):
        raise _disagree(query, method, f"a tuple means models side by side, the method declares {returns}")
    return row


def _disagree(query: Query, method: Callable[..., object], problem: str) -> QueryBindingError:
    return QueryBindingError(f"{query.path}:{query.line}: {query.qualified_name} ({method_place(method)}): {problem}")
