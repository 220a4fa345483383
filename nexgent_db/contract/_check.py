"""Proves queries against a live database: see :func:`check`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import NoneType
from typing import Any, Final, get_args, get_origin

import psycopg
from psycopg import pq
from pydantic import BaseModel

from nexgent_db.binding import _union_parts
from nexgent_db.contract._catalog import Catalog, Column, numeric_of, read_catalog
from nexgent_db.contract._declared import Declared, declared, field_place, fields_of
from nexgent_db.contract._nodes import Node, walk
from nexgent_db.contract._nullability import Analysis, Parameter, last_query
from nexgent_db.contract._numeric import decimals
from nexgent_db.contract._problem import Problem
from nexgent_db.contract._rows import at_most_one, gives_a_row, has_limit, is_ordered, is_totally_ordered
from nexgent_db.contract._scope import INSERT, RTE_RELATION, SELECT, UPDATE, Nulls, Scope, outputs, plain
from nexgent_db.contract._source import Override, Source
from nexgent_db.sqlfiles import Cardinality, Statement

__all__ = ["CheckedColumn", "CheckedQuery", "CheckedVariant", "Report", "check"]

_ROWS: Final = (Cardinality.ONE, Cardinality.OPTIONAL, Cardinality.MANY, Cardinality.STREAM)
_PLANS: Final = "seq scan"
_COMPOSITE: Final = "c"  # how the row that ON CONFLICT calls "excluded" stands among the tables


@dataclass(frozen=True, slots=True)
class CheckedColumn:
    """One column of a statement's rows, as the database describes it."""

    name: str
    type: str
    nullable: bool


@dataclass(frozen=True, slots=True)
class CheckedVariant:
    """One statement that the database accepted."""

    statement: Statement
    parameter_types: tuple[str, ...]
    columns: tuple[CheckedColumn, ...]
    rows: str  # "one", "at most one", "many", "none"
    reads: frozenset[str]  # tables and views that rows are taken from
    writes: frozenset[str]  # tables whose rows are inserted, updated or deleted


@dataclass(slots=True)
class CheckedQuery:
    """One query and what was found out about it."""

    source: Source
    variants: list[CheckedVariant] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """What :func:`check` found."""

    server_version: int
    queries: tuple[CheckedQuery, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Described:
    """What ``PQdescribePrepared`` says of a column."""

    name: str
    type: int
    modifier: int
    table: int
    table_column: int


@dataclass(slots=True)
class _Shown:
    """A column of one variant with everything that is known of it."""

    described: _Described
    nulls: Nulls
    origin: Column | None
    target: Any
    place: tuple[int, int]


def check(
    connection: psycopg.Connection[Any],
    sources: Iterable[Source],
    on_query: Callable[[Source], None] | None = None,
) -> Report:
    """Prove every variant of every query on a migrated database; raises nothing for what it finds wrong.

    Prepares and describes; makes functions in ``pg_temp`` to read what PostgreSQL parsed; executes no query. All of
    it in one transaction, which is rolled back.
    """
    checked: list[CheckedQuery] = []
    seen = _FieldsSeen()
    with connection.transaction(force_rollback=True):
        database = _Database(connection, read_catalog(connection))
        for source in sources:
            if on_query is not None:
                on_query(source)
            checked.append(_QueryCheck(source, database, seen).run())
    problems = [problem for each in checked for problem in each.problems]
    problems += seen.needlessly_optional()
    problems.sort(key=lambda each: (str(each.sql_path), each.sql_line, each.sql_column, each.rule))
    return Report(connection.info.server_version, tuple(checked), tuple(problems))


class _Refused(Exception):
    """The database refused a statement."""

    def __init__(self, message: str, position: int | None) -> None:
        super().__init__(message)
        self.message = message
        self.position = position


class _Database:
    """Describes and parses statements."""

    def __init__(self, connection: psycopg.Connection[Any], catalog: Catalog) -> None:
        self.connection = connection
        self.catalog = catalog
        connection.execute("SAVEPOINT described")

    def describe(self, text: str, types: Sequence[int]) -> tuple[list[int], list[_Described]]:
        """The types of parameters and columns. Raises _Refused."""
        link = self.connection.pgconn
        result = link.prepare(b"", text.encode(), types)
        if result.status == pq.ExecStatus.FATAL_ERROR:
            message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()
            hint = (result.error_field(pq.DiagnosticField.MESSAGE_HINT) or b"").decode()
            position = result.error_field(pq.DiagnosticField.STATEMENT_POSITION)
            self.connection.execute("ROLLBACK TO described")
            raise _Refused(f"{message} ({hint})" if hint else message, int(position) if position else None)
        described = link.describe_prepared(b"")
        parameters = [described.param_type(place) for place in range(described.nparams)]
        columns = [
            _Described(
                (described.fname(place) or b"").decode(),
                described.ftype(place),
                described.fmod(place),
                described.ftable(place),
                described.ftablecol(place),
            )
            for place in range(described.nfields)
        ]
        return parameters, columns

    def parse(self, text: str, types: Sequence[int], *, has_rows: bool) -> Node:
        """What PostgreSQL makes of the statement. Raises _Refused for one that no function may hold."""
        arguments = ", ".join(self.catalog.sql_name(oid) for oid in types)
        returns = "SETOF record" if has_rows else "void"
        try:
            self.connection.execute(
                f"CREATE FUNCTION pg_temp.checked({arguments}) RETURNS {returns} BEGIN ATOMIC\n{text}\n;\nEND"
            )
        except psycopg.Error as error:
            self.connection.execute("ROLLBACK TO described")
            raise _Refused(error.diag.message_primary or str(error), None) from None
        row = self.connection.execute(
            "SELECT prosqlbody::text FROM pg_proc WHERE proname = 'checked' AND pronamespace = pg_my_temp_schema()"
        ).fetchone()
        self.connection.execute("ROLLBACK TO described")
        query = last_query(row[0]) if row else None
        if query is None:
            raise _Refused("it cannot be parsed as the body of a function", None)
        return query


class _FieldsSeen:
    """Over all queries: which optional fields were ever seen to be NULL."""

    def __init__(self) -> None:
        self._can_be: set[tuple[type[BaseModel], str]] = set()
        self._never: dict[tuple[type[BaseModel], str], Problem] = {}

    def add(self, model: type[BaseModel], name: str, problem: Problem | None) -> None:
        if problem is None:
            self._can_be.add((model, name))
        else:
            self._never.setdefault((model, name), problem)

    def needlessly_optional(self) -> list[Problem]:
        return [problem for key, problem in self._never.items() if key not in self._can_be]


class _QueryCheck:
    """One query, all its variants."""

    def __init__(self, source: Source, database: _Database, seen: _FieldsSeen) -> None:
        self.source = source
        self.query = source.query
        self.database = database
        self.catalog = database.catalog
        self.seen = seen
        self.checked = CheckedQuery(source)
        self.found: Counter[Problem] = Counter()
        self.used: set[Override] = set()
        self.items = source.text.items()

    def run(self) -> CheckedQuery:
        for place in self.source.text.stars():
            self.report(
                "select star", place, "all columns, by *", "that a migration may add, drop or reorder them", "name them"
            )
        for line, column, text in self.source.bad_overrides:
            self.report(
                "unknown override",
                (line, column),
                text,
                "nothing: no check is called that",
                "write -- check: one | order | limit | rows | not null COLUMN | nullable COLUMN | numeric COLUMN |"
                " values COLUMN | filled COLUMN | seq scan TABLE, then : and the reason",
            )
        failed = False
        for statement in self.source.variants():
            try:
                self.variant(statement)
            except _Refused as error:
                failed = True
                place = self.query.location(error.position, statement) if error.position else (self.query.line, 1)
                self.report(
                    "refused", place, "a statement", error.message, "correct the statement, or migrate the schema"
                )
        if not failed:
            for override in set(self.source.overrides) - self.used:
                if override.rule != _PLANS:
                    self.report(
                        "needless override",
                        (override.line, override.column),
                        f"-- check: {override.rule} {override.subject}".rstrip(),
                        "that this holds anyway, or is about no column of this query",
                        "remove the comment",
                    )
        self.checked.problems = [replace(problem, variants=count) for problem, count in self.found.items()]
        return self.checked

    # --- Telling ----------------------------------------------------------------------------------------

    def problem(
        self, rule: str, place: tuple[int, int], declared: str, actual: str, advice: str, python: str | None = None
    ) -> Problem:
        return Problem(
            rule=rule,
            query=self.query.qualified_name,
            sql_path=self.query.path,
            sql_line=place[0],
            sql_column=place[1],
            python=python or self.source.python,
            declared=declared,
            actual=actual,
            advice=advice,
        )

    def report(
        self, rule: str, place: tuple[int, int], declared: str, actual: str, advice: str, python: str | None = None
    ) -> None:
        self.found[self.problem(rule, place, declared, actual, advice, python)] += 1

    def excused(self, rule: str, subject: str = "") -> bool:
        """Whether a comment in the query gives a reason for this."""
        for override in self.source.overrides:
            if override.rule == rule and override.subject in (subject, ""):
                self.used.add(override)
                return True
        return False

    @property
    def cardinality_place(self) -> tuple[int, int]:
        return self.query.line, len(f"-- name: {self.query.name} ") + 1

    # --- One variant ------------------------------------------------------------------------------------

    def variant(self, statement: Statement) -> None:
        types, columns = self.database.describe(statement.text, ())
        sent = [
            found.sent_as(self.catalog) if (found := self.source.parameters.get(name)) else 0
            for name in statement.parameters
        ]
        sent_types, sent_columns = types, columns
        if any(sent):
            try:
                sent_types, sent_columns = self.database.describe(statement.text, sent)
            except _Refused as error:
                place = self.query.location(error.position or 1, statement)
                names = ", ".join(
                    f":{name} as {self.catalog.type_name(oid)}"
                    for name, oid in zip(statement.parameters, sent, strict=True)
                    if oid
                )
                raise_at = f"{error.message} (sent: {names})"
                self.parameters(statement, types, None)
                if not any(problem.rule in ("parameter type", "float") for problem in self.found):
                    self.report(
                        "parameter type", place, "parameters as the driver sends them", raise_at,
                        "cast the parameter (:name::type) or change its annotation",
                    )  # fmt: skip
                return
        for one, other in zip(columns, sent_columns, strict=True):
            if one.type != other.type:
                self.report(
                    "unstable type",
                    self.item(columns.index(one)),
                    f"one type for {one.name}",
                    f"{self.catalog.type_name(one.type)}, or {self.catalog.type_name(other.type)} when the parameters"
                    " are values",
                    "cast the parameter (:name::type)",
                )
        tree = self.database.parse(statement.text, sent_types, has_rows=bool(columns))
        self.parameters(statement, types, tree)
        scope = Scope(tree, None, self.catalog)
        known = {
            place: Parameter(
                self.source.may_be_null(name),
                element_nullable=(
                    (found := self.source.parameters.get(name)) is None
                    or found.element is None
                    or found.element.nullable
                ),
            )
            for place, name in enumerate(statement.parameters, 1)
        }
        nulls = Analysis(self.catalog, known).columns(tree)
        shown = self.shown(sent_columns, nulls, tree)
        self.writes(tree, statement, known)
        self.values_of_parameters(tree, scope, statement)
        rows = self.cardinality(tree, scope, has_rows=bool(columns))
        if self.source.bound is not None and self.query.cardinality in _ROWS and columns:
            self.result(self.source.bound.result, shown, scope)
        self.checked.variants.append(
            CheckedVariant(
                statement,
                tuple(self.catalog.type_name(oid) for oid in types),
                tuple(
                    CheckedColumn(
                        each.described.name,
                        self.catalog.type_name(each.described.type, each.described.modifier),
                        bool(each.nulls) and not self.has_override("not null", each.described.name),
                    )
                    for each in shown
                ),
                rows,
                *_tables(tree, self.catalog),
            )
        )

    def has_override(self, rule: str, subject: str) -> bool:
        return any(each.rule == rule and each.subject in (subject, "") for each in self.source.overrides)

    def item(self, place: int) -> tuple[int, int]:
        return self.items[place] if place < len(self.items) else (self.query.line, 1)

    def shown(self, columns: Sequence[_Described], nulls: Sequence[Nulls], tree: Node) -> list[_Shown]:
        targets = [None] * len(columns) if tree.get("setOperations") else [each["expr"] for each in outputs(tree)]
        found: list[_Shown] = []
        for place, column in enumerate(columns):
            table = self.catalog.tables.get(column.table)
            found.append(
                _Shown(
                    column,
                    nulls[place] if place < len(nulls) else frozenset({"?"}),
                    table.columns.get(column.table_column) if table else None,
                    targets[place] if place < len(targets) else None,
                    self.item(place),
                )
            )
        return found

    def parameters(self, statement: Statement, types: Sequence[int], tree: Node | None) -> None:
        for number, (name, oid) in enumerate(zip(statement.parameters, types, strict=True), 1):
            found = self.source.parameters.get(name)
            if found is None or found.accepts(oid, self.catalog):
                continue
            actual = self.catalog.type_name(oid)
            if found.kind == "Decimal" and actual in ("int2", "int4", "int8") and tree is not None:
                # Left open, a parameter beside 0 is an int4; sent as numeric it stays one, unless it is cast.
                casts = [
                    node
                    for node in walk(tree)
                    if node["node"] == "FUNCEXPR"
                    and node["funcformat"] in ("1", "2")
                    and self.catalog.type_name(int(node["funcresulttype"])) == actual
                ]
                if not any(_parameter_number(node) == number for node in casts):
                    continue
            is_float = "float" in (found.kind, found.element.kind if found.element else "")
            rule = "float" if is_float and "numeric" in actual else "parameter type"
            advice = (
                "use Decimal: a float would be rounded without a word"
                if rule == "float"
                else "change the annotation, or cast the parameter (:name::type)"
            )
            self.report(
                rule,
                self.query.parameter_location(name),
                f":{name} as {found.text} ({found.expects()})",
                f"{actual}",
                advice,
            )

    # --- What is written ----------------------------------------------------------------------------------

    def writes(self, tree: Node, statement: Statement, known: Mapping[int, Parameter]) -> None:
        for query in walk(tree):
            if query["node"] != "QUERY" or query["commandType"] not in (INSERT, UPDATE):
                continue
            scope = Scope(query, None, self.catalog)
            table = scope.relation(scope.result_table)
            if table is None:
                continue
            given = {int(entry["resno"]): entry["expr"] for entry in query["targetList"] or []}
            for number, column in table.columns.items():
                if not column.never_null or column.is_generated:
                    continue
                subject = column.name
                if number not in given:
                    if (
                        query["commandType"] == INSERT
                        and not column.has_default
                        and not self.excused("filled", subject)
                    ):
                        self.report(
                            "missing column",
                            self.place_of_word(table.name),
                            f"an INSERT INTO {table.name} without {column.name}",
                            f"{table.name}.{column.name} is NOT NULL and has no default",
                            f"insert it, or -- check: filled {column.name}: who fills it",
                        )
                    continue
                expression = plain(given[number])
                while expression["node"] == "FUNCEXPR" and expression["funcformat"] in ("1", "2"):
                    expression = plain(expression["args"][0])
                if expression["node"] == "CONST" and expression["constisnull"] == "true":
                    value, python = "NULL", "the statement"
                elif expression["node"] == "PARAM" and known[int(expression["paramid"])].nullable:
                    name = statement.parameters[int(expression["paramid"]) - 1]
                    if name not in self.source.parameters or self.source.parameters[name].either:
                        continue
                    value, python = f":{name} as {self.source.parameters[name].text}", ""
                else:
                    continue
                place = self.place_of_word(column.name) if python else self.query.parameter_location(name)
                self.report(
                    "null written",
                    place,
                    f"{value} for {table.name}.{column.name}",
                    f"{table.name}.{column.name} is NOT NULL",
                    "make the parameter required, or give coalesce() another value",
                )

    def place_of_word(self, word: str) -> tuple[int, int]:
        """Where a word first stands in the query."""
        text = self.source.text
        found = re.search(rf"(?<![\w.:]){re.escape(word)}\b", text.masked)
        return text.place(found.start()) if found else (self.query.line, 1)

    def values_of_parameters(self, tree: Node, scope: Scope, statement: Statement) -> None:
        """A Literal's values against those of the column that it is compared with or written to."""
        literals = {
            place: found
            for place, name in enumerate(statement.parameters, 1)
            if (found := self.source.parameters.get(name)) and found.values is not None
        }
        if not literals:
            return
        for place, column, table in _meetings(tree, self.catalog):
            found = literals.get(place)
            if found is None or column.allowed is None or found.values is None:
                continue
            unknown = sorted(found.values - column.allowed)
            name = statement.parameters[place - 1]
            if unknown and not self.excused("values", name):
                self.report(
                    "values",
                    self.query.parameter_location(name),
                    f":{name} as {found.text}",
                    f"{table}.{column.name} holds {_listed(column.allowed)} only",
                    f"remove {_listed(unknown)} from the Literal, or migrate the column",
                )

    # --- How many rows --------------------------------------------------------------------------------------

    def cardinality(self, tree: Node, scope: Scope, *, has_rows: bool) -> str:
        declared = self.query.cardinality
        place = self.cardinality_place
        if not has_rows:
            if declared in _ROWS:
                self.report(
                    "no rows",
                    place,
                    f":{declared}",
                    "the statement returns no rows",
                    "add RETURNING, or declare :rows or :exec",
                )
            return "none"
        single, sure = at_most_one(scope), gives_a_row(scope)
        rows = ("one" if sure else "at most one") if single else "many"
        if declared in (Cardinality.ROWS, Cardinality.EXEC):
            locks = tree["commandType"] == SELECT and tree.get("rowMarks")
            void = all(
                self.catalog.type_name(int(each["expr"].get("funcresulttype", 0))) == "void" for each in outputs(tree)
            )
            if not locks and not void and not self.excused("rows"):
                self.report(
                    "rows unread",
                    place,
                    f":{declared}",
                    f"the statement returns {rows} row{'' if single else 's'} of {len(outputs(tree))} columns",
                    "remove RETURNING or declare :one, :optional or :many; or -- check: rows: why nobody reads them",
                )
        elif declared in (Cardinality.ONE, Cardinality.OPTIONAL):
            if not single:
                if not self.excused("one"):
                    self.report(
                        "cardinality",
                        place,
                        f":{declared}",
                        "any number of rows: no unique key is bound by equality, no aggregate, no LIMIT 1",
                        "bind a unique key, add LIMIT 1, or -- check: one: why it is one",
                    )
            elif sure and declared is Cardinality.OPTIONAL:
                self.report(
                    "cardinality",
                    place,
                    ":optional",
                    "always one row",
                    "declare :one, so that the caller need not handle None",
                )
        elif not single:
            self.order(tree, scope, place)
        return rows

    def order(self, tree: Node, scope: Scope, place: tuple[int, int]) -> None:
        declared = f":{self.query.cardinality}"
        if not is_ordered(tree):
            if not self.excused("order"):
                self.report(
                    "order",
                    place,
                    declared,
                    "no ORDER BY: any order, another one every time",
                    "add ORDER BY with a tie-breaker, or -- check: order: why it does not matter",
                )
        elif not is_totally_ordered(scope) and not self.excused("order"):
            self.report(
                "order",
                place,
                declared,
                "ORDER BY leaves rows equal: its columns hold no unique key",
                "end it in a unique column, or -- check: order: why it does not matter",
            )
        if self.query.cardinality is Cardinality.MANY and not has_limit(tree) and not self.excused("limit"):
            self.report(
                "limit", place, declared, "no LIMIT: the whole table", "add LIMIT, or -- check: limit: what limits it"
            )

    # --- Results ----------------------------------------------------------------------------------------------

    def result(self, row: Any, columns: Sequence[_Shown], scope: Scope) -> None:
        if get_origin(row) is tuple:
            self.side_by_side(get_args(row), columns, scope)
        elif _is_model(row):
            self.model(row, columns, scope, NEVER_BESIDE)
        elif len(columns) != 1:
            self.report(
                "columns",
                self.item(0),
                f"one column, {_name(row)}",
                f"{len(columns)}: {', '.join(each.described.name for each in columns)}",
                "select one column, or return a model",
            )
        else:
            self.column(columns[0], declared(row), "the result", None, None, scope, NEVER_BESIDE)

    def side_by_side(self, parts: Sequence[Any], columns: Sequence[_Shown], scope: Scope) -> None:
        models = [_union_parts(part)[0] for part in parts]
        wanted = sum(len(model.model_fields) for model in models)
        if wanted != len(columns):
            self.report(
                "columns",
                self.item(0),
                f"{wanted} columns for {', '.join(model.__name__ for model in models)} side by side",
                f"{len(columns)} columns",
                "select every model's fields, one model after the other",
            )
            return
        start = 0
        for part, model in zip(parts, models, strict=True):
            own = columns[start : start + len(model.model_fields)]
            start += len(model.model_fields)
            if NoneType not in _union_parts(part):
                self.model(model, own, scope, NEVER_BESIDE)
                continue
            first = own[0]
            if not first.nulls:
                self.report(
                    "nullability",
                    first.place,
                    f"{model.__name__} | None",
                    f"{first.described.name}, its first column, is never NULL",
                    f"declare {model.__name__}",
                )
            elif "?" in first.nulls:
                self.report(
                    "nullability",
                    first.place,
                    f"{model.__name__} | None",
                    f"{first.described.name}, its first column, can be NULL in a row that is there",
                    "put a NOT NULL column first: it tells whether there is a row",
                )
            self.model(model, own, scope, first.nulls)

    def model(self, model: type[BaseModel], columns: Sequence[_Shown], scope: Scope, beside: Nulls) -> None:
        names = [each.described.name for each in columns]
        fields = fields_of(model)
        missing = [name for name in fields if name not in names]
        surplus = [name for name in names if name not in fields]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if missing or surplus or twice:
            actual = "; ".join(
                f"{what} {', '.join(which)}"
                for what, which in (("no column", missing), ("no field for", surplus), ("twice", twice))
                if which
            )
            place = columns[names.index((surplus or twice)[0])].place if surplus or twice else self.item(0)
            python = field_place(model, missing[0]) if missing else None
            self.report(
                "columns",
                place,
                f"{model.__name__} with {len(fields)} fields",
                actual,
                "make the columns and the fields of the model the same",
                python,
            )
        for column in columns:
            if found := fields.get(column.described.name):
                name = column.described.name
                self.column(column, found, f"{model.__name__}.{name}", model, name, scope, beside)

    def column(
        self,
        column: _Shown,
        field: Declared,
        name: str,
        model: type[BaseModel] | None,
        field_name: str | None,
        scope: Scope,
        beside: Nulls,
    ) -> None:
        described = column.described
        python = field_place(model, field_name) if model and field_name else None
        actual = self.catalog.type_name(described.type, described.modifier)
        if not field.accepts(described.type, self.catalog):
            is_float = field.kind == "float" and actual.startswith("numeric")
            self.report(
                "float" if is_float else "column type",
                column.place,
                f"{name}: {field.text} ({field.expects()})",
                actual,
                "use Decimal" if is_float else "change the annotation, or cast the column",
                python,
            )
        elif field.exact is not None:
            self.numeric(column, field, name, python, scope)
        if field.values is not None:
            self.values_of_column(column, field, name, python)
        self.nullability(column, field, name, model, field_name, python, beside)

    def numeric(self, column: _Shown, field: Declared, name: str, python: str | None, scope: Scope) -> None:
        described = column.described
        assert field.exact is not None
        precision, scale = field.exact
        if described.modifier >= 4:
            if numeric_of(described.modifier) != field.exact:
                self.report(
                    "numeric",
                    column.place,
                    f"{name}: {field.text}",
                    self.catalog.type_name(described.type, described.modifier),
                    "give the field the column's precision and scale, or cast the column",
                    python,
                )
            return
        most = decimals(column.target, scope, self.catalog) if column.target is not None else None
        if (most is None or most > scale) and not self.excused("numeric", described.name):
            what = "of unknown decimals" if most is None else f"with up to {most} decimals"
            self.report(
                "numeric",
                column.place,
                f"{name}: {field.text}",
                f"numeric, {what}",
                f"cast it (::numeric({precision},{scale})), or -- check: numeric {described.name}: why it fits",
                python,
            )

    def values_of_column(self, column: _Shown, field: Declared, name: str, python: str | None) -> None:
        assert field.values is not None
        described = column.described
        allowed = column.origin.allowed if column.origin else None
        if allowed is None:
            allowed = self.catalog.enums.get(described.type)
        if allowed == field.values or self.excused("values", described.name):
            return
        if allowed is None:
            actual, advice = (
                "any text: the column has no CHECK (… IN …) and is no enum",
                f"declare str, add the CHECK, or -- check: values {described.name}: why there are no others",
            )
        else:
            more, fewer = sorted(allowed - field.values), sorted(field.values - allowed)
            actual = "; ".join(
                f"{what} {_listed(which)}" for what, which in (("also", more), ("never", fewer)) if which
            )
            advice = "make the Literal and the column's values the same"
        self.report("values", column.place, f"{name}: {field.text}", actual, advice, python)

    def nullability(
        self,
        column: _Shown,
        field: Declared,
        name: str,
        model: type[BaseModel] | None,
        field_name: str | None,
        python: str | None,
        beside: Nulls,
    ) -> None:
        nulls = column.nulls
        if beside and "?" not in beside and nulls <= beside:
            nulls = frozenset()  # with its model's first column, and then the whole model is None
        if field.either:
            return
        label = column.described.name
        if nulls and not field.nullable:
            if not self.excused("not null", label):
                self.report(
                    "nullability",
                    column.place,
                    f"{name}: {field.text}",
                    f"{label} can be NULL{_why(nulls, column)}",
                    f"declare {field.text} | None, use coalesce(), or -- check: not null {label}: why it is not",
                    python,
                )
        elif field.nullable:
            surely = not nulls and not (column.origin is not None and not column.origin.never_null)
            problem = self.problem(
                "nullability",
                column.place,
                f"{name}: {field.text}",
                f"{label} is never NULL",
                f"declare it without None, or -- check: nullable {label}: why None is possible",
                python,
            )
            if surely and self.excused("nullable", label):
                surely = False
            if model is not None and field_name is not None:
                self.seen.add(model, field_name, problem if surely else None)
            elif surely:
                self.found[problem] += 1


NEVER_BESIDE: Final[Nulls] = frozenset()


def _why(nulls: Nulls, column: _Shown) -> str:
    if "?" not in nulls:
        return ": an outer join may find no row"
    if column.origin is not None and not column.origin.never_null:
        return ": the column has no NOT NULL"
    return ""


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _name(annotation: Any) -> str:
    return declared(annotation).text


def _listed(values: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(values)))


def _tables(tree: Node, catalog: Catalog) -> tuple[frozenset[str], frozenset[str]]:
    """What the statement, with everything in it, reads and what it writes."""
    reads: set[str] = set()
    writes: set[str] = set()
    for query in walk(tree):
        if query["node"] != "QUERY":
            continue
        target = int(query.get("resultRelation") or 0) if query["commandType"] != SELECT else 0
        for number, entry in enumerate(query.get("rtable") or [], 1):
            if entry["rtekind"] != RTE_RELATION or entry["relkind"] == _COMPOSITE:
                continue
            (writes if number == target else reads).add(catalog.tables[int(entry["relid"])].name)
    return frozenset(reads), frozenset(writes)


def _meetings(tree: Node, catalog: Catalog) -> Iterator[tuple[int, Column, str]]:
    """Where a parameter meets a column: it is compared with it, or written to it."""
    for query in walk(tree):
        if query["node"] != "QUERY":
            continue
        scope = Scope(query, None, catalog)
        if query["commandType"] in (INSERT, UPDATE) and (table := scope.relation(scope.result_table)):
            for entry in query["targetList"] or []:
                column = table.columns.get(int(entry["resno"]))
                if column and (number := _parameter_number(entry["expr"])):
                    yield number, column, table.name
        for qual in scope.quals:
            if qual.expression["node"] != "OPEXPR" or len(qual.expression["args"]) != 2:
                continue
            for one, other in (qual.expression["args"], qual.expression["args"][::-1]):
                bare = plain(one)
                if bare["node"] == "VAR" and bare["varlevelsup"] == "0" and (number := _parameter_number(other)):
                    place, column_number = scope.resolve(bare)
                    table = scope.relation(place)
                    if table and (column := table.columns.get(column_number)):
                        yield number, column, table.name


def _parameter_number(expression: Any) -> int | None:
    expression = plain(expression)
    while expression["node"] in ("FUNCEXPR", "COERCEVIAIO"):
        if expression["node"] == "FUNCEXPR":
            if expression["funcformat"] not in ("1", "2"):
                return None
            expression = plain(expression["args"][0])
        else:
            expression = plain(expression["arg"])
    return int(expression["paramid"]) if expression["node"] == "PARAM" and expression["paramkind"] == "0" else None
