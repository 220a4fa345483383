"""Binds a typed method to its named query: parameters from the signature, rows to the model it returns.

Everything is decided once, when the repository class is created. A name, parameter or cardinality that differs
between the method and the file raises QueryBindingError there, with both places. Pure: how a bound query is run
is the business of ``aio`` and ``sync``.

What an annotation stands for:

- parameter: a plain value, checked before it is sent; or an :class:`~nexgent_db.models._base.Order`, which was
  checked when it was made and stands for its fields.
- an optional parameter (``-- if given``) has the default None or NOT_GIVEN, which means: not given. In an order, a
  field that is None is not given.
- result: a Row model; a tuple of Row models for columns side by side (the second and later ones are None when
  their first column is NULL, as an outer join gives them); or a single plain value. ``:one`` returns it,
  ``:optional`` it or None, ``:many`` a list of it, ``:stream`` an iterator; ``:rows`` returns int, ``:exec`` None.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from operator import itemgetter
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, ParamSpec, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from psycopg import Column
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

from nexgent_db._data import data_dir
from nexgent_db.errors import InvalidInput, NoRow, QueryBindingError, TooManyRows
from nexgent_db.models._base import Order
from nexgent_db.models._storable import place_of_fault, said_of_fault
from nexgent_db.sqlfiles import Cardinality, Query, SqlFile, load_file

P = ParamSpec("P")
R = TypeVar("R")

RowMaker = Callable[[Sequence[Any]], Any]
MAX_BIGINT: Final = 2**63 - 1
_MARK: Final = "_is_named_query"


class _Described(Protocol):
    """A cursor after its execution."""

    @property
    def description(self) -> Sequence[Column] | None: ...


class NotGiven(Enum):
    """The type of NOT_GIVEN: a column that a partial update leaves alone, where None would mean NULL."""

    NOT_GIVEN = "not given"


NOT_GIVEN: Final = NotGiven.NOT_GIVEN


def query(method: Callable[P, R]) -> Callable[P, R]:
    """Mark a repository method whose body is the named query of the same name."""
    setattr(method, _MARK, True)
    return method


@dataclass(frozen=True, slots=True)
class _Parameter:
    """One argument of the method: what it is called, how it is checked, which SQL parameters it fills."""

    name: str
    default: object
    fill: Callable[[Any], tuple[Any, ...]]
    sql_names: tuple[str, ...]
    is_order: bool

    def given(self, value: object, filled: tuple[Any, ...]) -> Iterable[str]:
        """The SQL parameters that this argument gives: an order's fields that are not None, or the value itself."""
        if self.is_order:
            return (name for name, field in zip(self.sql_names, filled, strict=True) if field is not None)
        return () if value is self.default else self.sql_names


class Call(NamedTuple):
    """A statement ready to be sent: its text, the values of ``$1 … $n``, and what makes rows of the answer.

    Where there is a ``first``, that one is run before it, in the same transaction and the same round trip.
    """

    text: bytes
    values: tuple[Any, ...]
    row_factory: Any
    first: Call | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """One variant: its text and, for each ``$n``, the argument and the place in what that argument fills."""

    text: bytes
    places: tuple[tuple[int, int], ...]
    row_factory: Callable[[_Described], RowMaker]


class BoundQuery:
    """A named query and the method that stands for it."""

    def __init__(self, query: Query, method: Callable[..., object]) -> None:
        self.query = query
        self.name = query.qualified_name
        self.method = method
        self.doc = inspect.getdoc(method)
        hints = get_type_hints(method, include_extras=True)
        self._parameters = tuple(_parameters(query, method, hints))
        self._names = {parameter.name: place for place, parameter in enumerate(self._parameters)}
        self.result = _result_type(query, method, hints)
        self.shape = _SHAPES.get(query.cardinality)
        """What the list of rows becomes; None for a query that returns no rows."""
        self.counts = query.cardinality is Cardinality.ROWS
        self.streams = query.cardinality is Cardinality.STREAM
        self._optional = frozenset().union(*query.optional) - query.required
        self._plans: dict[frozenset[str], _Plan] = {}
        self._whole = None if self._optional else self._plan(frozenset(query.parameters))

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Check the arguments and put them in their places. Raises InvalidInput with the parameter's name."""
        arguments = self._arguments(args, kwargs)
        filled = [parameter.fill(value) for parameter, value in zip(self._parameters, arguments, strict=True)]
        plan = self._whole
        if plan is None:
            given = map(_Parameter.given, self._parameters, arguments, filled)
            plan = self._plan(self.query.required.union(*given))
        return Call(plan.text, tuple([filled[argument][place] for argument, place in plan.places]), plan.row_factory)

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
            plan = self._plans[given] = _Plan(statement.text.encode(), places, _row_factory(self.result, self.name))
        return plan


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


def bind_repository(cls: type, file_name: str) -> dict[str, BoundQuery]:
    """Every query of ``sql/<file_name>.sql`` bound to the method of ``cls`` that is marked with ``@query``.

    Raises QueryBindingError, all disagreements at once: a query without a method, a method without a query, or
    one that differs from its query.
    """
    source = _load(file_name)
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
        raise QueryBindingError("\n".join(problems))
    return bound


@cache
def _load(file_name: str) -> SqlFile:
    return load_file(data_dir("sql") / f"{file_name}.sql")


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
        if inspect.isclass(annotation) and issubclass(annotation, Order):
            defaults = {name: field.get_default() for name, field in annotation.model_fields.items()}
            names = tuple(defaults)
            fill = _order_filler(item.name, annotation)
            parameter = _Parameter(item.name, item.default, fill, names, is_order=True)
        else:
            defaults = {item.name: item.default}
            names = (item.name,)
            fill = _value_filler(item.name, annotation, may_be_left_out=item.default is NOT_GIVEN)
            parameter = _Parameter(item.name, item.default, fill, names, is_order=False)
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


@cache  # a few annotations are those of most arguments, in both flavours of every repository
def _validator(annotation: Any) -> Callable[[Any], Any]:
    return TypeAdapter[Any](annotation, config=ConfigDict(strict=True)).validate_python


def _value_filler(name: str, annotation: Any, *, may_be_left_out: bool) -> Callable[[Any], tuple[Any, ...]]:
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
            fault = error.errors(include_url=False, include_context=False)[0]
            where = f"at {place_of_fault(fault)}: " if fault["loc"] else ""
            raise InvalidInput(name, where + said_of_fault(fault)) from None
        if type(checked) is int and not -MAX_BIGINT - 1 <= checked <= MAX_BIGINT:
            raise InvalidInput(name, "is beyond 64 bits")
        return (checked if prepare is None or checked is None else prepare(checked),)

    return fill


def _order_filler(name: str, model: type[Order]) -> Callable[[Any], tuple[Any, ...]]:
    prepares = {field: _prepare(found.annotation) for field, found in model.model_fields.items()}

    def fill(order: Any) -> tuple[Any, ...]:
        if not isinstance(order, model):
            raise InvalidInput(name, f"{model.__name__} expected, {type(order).__name__} given")
        given = order.__dict__
        return tuple(
            [
                value if (value := given[field]) is None or prepare is None else prepare(value)
                for field, prepare in prepares.items()
            ]
        )

    return fill


def _prepare(annotation: Any) -> Callable[[Any], Any] | None:
    """How a checked value of this type is handed to the driver; None: as it is."""
    parts = _union_parts(annotation)
    if any(part == JsonValue or get_origin(part) is dict for part in parts):
        return Jsonb
    return None


def _union_parts(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


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
            parts = _union_parts(returns)
            fits = len(parts) == 2 and parts[1] is NoneType
            row = parts[0]
        case Cardinality.ONE:
            fits, row = returns is not NoneType and NoneType not in _union_parts(returns), returns
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
    if get_origin(row) is tuple and not all(_is_model(_union_parts(part)[0]) for part in get_args(row)):
        raise _disagree(query, method, f"a tuple stands for models side by side, the method declares {returns}")
    return row


def _is_model(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def _disagree(query: Query, method: Callable[..., object], problem: str) -> QueryBindingError:
    return QueryBindingError(f"{query.path}:{query.line}: {query.qualified_name} ({method_place(method)}): {problem}")


def _row_factory(row: Any, name: str) -> Callable[[_Described], RowMaker]:
    """What psycopg makes one statement's rows with; its columns are looked at once."""
    made: RowMaker | None = tuple if row is None else None

    def factory(cursor: _Described) -> RowMaker:
        nonlocal made
        if made is None:
            made = row_maker(row, [column.name for column in cursor.description or ()], name)
        return made

    return factory


def row_maker(row: Any, columns: Sequence[str], name: str) -> RowMaker:
    """What makes a row of this type from the values of these columns.

    Models are built without validation: the contract has proved the types. Columns that are not exactly the
    model's fields (for a tuple of models: in their order) raise QueryBindingError.
    """
    if _is_model(row):
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

    # Written out for the model: a loop over its fields costs half as much again. Names of fields are identifiers.
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
        model = _union_parts(part)[0]
        end = start + len(model.model_fields)
        makers.append((start, end, NoneType in _union_parts(part), _model_maker(model, columns[start:end], name)))
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
