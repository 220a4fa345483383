"""Proves the functions of the schema: see :func:`check_functions`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import psycopg

from nexgent_db.contract._catalog import ServerCatalog, read_catalog
from nexgent_db.contract._collation import COLLATION_RULE, uses_database_collation
from nexgent_db.contract._function_places import Places
from nexgent_db.contract._nodes import parse
from nexgent_db.contract._plpgsql_check import ExtensionSubject, check_with_extension
from nexgent_db.contract._plpgsql_proof import Proof, ProvenFunction
from nexgent_db.contract._plpgsql_server import PlpgsqlServer, Variable
from nexgent_db.contract._problem import Problem

__all__ = ["FunctionReport", "SchemaFunction", "check_functions", "read_functions", "subject_of"]


@dataclass(frozen=True, slots=True)
class FunctionReport:
    """The results for all functions; ``extended`` when plpgsql_check was there as well."""

    functions: tuple[str, ...]
    problems: tuple[Problem, ...]
    extended: bool


@dataclass(frozen=True, slots=True)
class SchemaFunction:
    """A function of the current schema, as its catalog describes it."""

    oid: int
    name: str
    signature: str
    language: str
    body: str
    parsed_body: str | None
    path: str | None
    definer: bool
    public: bool
    returns: int
    returns_set: bool
    arguments: tuple[tuple[str, str, int], ...]  # mode, name, type


@dataclass(frozen=True, slots=True)
class _Trigger:
    table: str
    row_type: int
    of_rows: bool
    old_rows: str | None
    new_rows: str | None


def check_functions(connection: psycopg.Connection[Any]) -> FunctionReport:
    """Prove every function of the current schema, but those of extensions. Problems are returned, never raised.

    Each statement of a PL/pgSQL function is planned with the types of its variables; none is executed. Where the
    server has the extension plpgsql_check, and the role may create it, its errors and warnings are reported too. All
    happens in one transaction, which is rolled back.
    """
    with connection.transaction(force_rollback=True):
        functions = read_functions(connection)
        triggers = _read_triggers(connection)
        catalog = read_catalog(connection)
        found = _Findings(Places())
        server = PlpgsqlServer(connection, catalog)
        for function in functions:
            found.function = function
            server.set_path(function.path)
            _check_head(function, found)
            if function.parsed_body is not None:
                if uses_database_collation(parse(function.parsed_body), catalog):
                    found.report_head(*COLLATION_RULE)
            elif function.language == "plpgsql":
                _prove(function, triggers.get(function.oid, ()), server, catalog, found)
            elif error := server.validate(function.oid, function.language):
                found.report("refused", error[1], "a function", error[0], _TO_DO)
        server.set_path(None)
        extended = [
            ExtensionSubject(each.oid, each.path, *each_time)
            for each in functions
            if each.language == "plpgsql"
            for each_time in (
                [(on.table, on.old_rows, on.new_rows) for on in triggers.get(each.oid, ())]
                if catalog.type_name(each.returns) == "trigger"
                else [()]
            )
        ]
        remarks = check_with_extension(connection, extended)
        for function in functions:
            found.function = function
            for remark in (remarks or {}).get(function.oid, ()):
                found.report_line("plpgsql_check", remark.line, remark.level, remark.message, _TO_DO)
        found.leave_out_repeated("plpgsql_check")
    problems = sorted(
        dict.fromkeys(found.problems), key=lambda each: (str(each.sql_path), each.sql_line, each.sql_column, each.rule)
    )
    return FunctionReport(tuple(each.signature for each in functions), tuple(problems), remarks is not None)


_TO_DO: Final = "correct the function in a migration"


class _Findings:
    def __init__(self, places: Places) -> None:
        self.problems: list[Problem] = []
        self.places = places
        self.function: SchemaFunction | None = None

    def report(self, rule: str, offset: int, declared: str, actual: str, advice: str) -> None:
        """Report a rule that is broken at an offset of the function's body."""
        self._add(rule, offset, declared, actual, advice)

    def report_line(self, rule: str, line: int, declared: str, actual: str, advice: str) -> None:
        """The same at a line of the body, counted from 1."""
        assert self.function is not None
        lines = self.function.body.split("\n")[: max(0, line - 1)]
        self._add(rule, sum(map(len, lines)) + len(lines), declared, actual, advice)

    def report_head(self, rule: str, declared: str, actual: str, advice: str) -> None:
        """The same at the function's CREATE."""
        self._add(rule, None, declared, actual, advice)

    def leave_out_repeated(self, rule: str) -> None:
        """Leave out the problems of this rule in lines that have another problem."""
        lines = {(each.sql_path, each.sql_line) for each in self.problems if each.rule != rule}
        self.problems = [
            each for each in self.problems if each.rule != rule or (each.sql_path, each.sql_line) not in lines
        ]

    def _add(self, rule: str, offset: int | None, declared: str, actual: str, advice: str) -> None:
        function = self.function
        assert function is not None
        path, line, column = self.places.find(function.name, function.signature, function.body, offset)
        self.problems.append(
            Problem(
                rule=rule,
                query=f"function {function.signature}",
                sql_path=path,
                sql_line=line,
                sql_column=column,
                python=None,
                declared=declared,
                actual=actual,
                advice=advice,
            )
        )


def _check_head(function: SchemaFunction, found: _Findings) -> None:
    if function.path is None and function.parsed_body is None:
        found.report_head(
            "search path",
            "a function",
            "it finds names by its caller's search_path, temporary tables first",
            "add SET search_path FROM CURRENT, behind a path that ends in pg_temp",
        )
    elif function.definer and function.path is not None and _last(function.path) != "pg_temp":
        found.report_head(
            "search path",
            "SECURITY DEFINER",
            f"its search_path is {function.path}: a caller's temporary table comes first",
            "end the search_path in pg_temp",
        )
    if function.definer and function.public:
        found.report_head(
            "public function",
            "SECURITY DEFINER",
            "PUBLIC may execute it",
            "REVOKE EXECUTE ON FUNCTION … FROM public",
        )


def _last(path: str) -> str:
    return path.rpartition(",")[2].strip().strip('"')


def _prove(
    function: SchemaFunction,
    triggers: Iterable[_Trigger],
    server: PlpgsqlServer,
    catalog: ServerCatalog,
    found: _Findings,
) -> None:
    before = len(found.problems)
    if catalog.type_name(function.returns) != "trigger":
        Proof(subject_of(function, server, catalog), server, catalog, found.report).run()
    else:
        triggers = tuple(triggers)
        if not triggers:
            found.report_head("no trigger", "a trigger function", "no trigger calls it", "create one, or drop it")
        for trigger in triggers:
            server.open_transitions((trigger.old_rows, trigger.new_rows), trigger.table)
            Proof(_trigger_subject(function, trigger, server), server, catalog, found.report).run()
            server.set_path(function.path)
    error = server.validate(function.oid, function.language)
    if error and len(found.problems) == before:
        found.report("refused", error[1], "a function", error[0], _TO_DO)


# What PL/pgSQL declares itself.
_ALWAYS: Final = {"found": "boolean", "sqlstate": "text", "sqlerrm": "text"}
_IN_TRIGGERS: Final = {
    **dict.fromkeys(("tg_name", "tg_relname", "tg_table_name", "tg_table_schema"), "name"),
    **dict.fromkeys(("tg_when", "tg_level", "tg_op"), "text"),
    "tg_relid": "oid",
    "tg_nargs": "integer",
    "tg_argv": "text[]",
    "tg_event": "text",
    "tg_tag": "text",
}


def _special(names: Mapping[str, str], server: PlpgsqlServer) -> Iterator[Variable]:
    for name, type_ in names.items():
        yield Variable(name, server.type_of(type_), 0, "special", is_set=True)


def subject_of(function: SchemaFunction, server: PlpgsqlServer, catalog: ServerCatalog) -> ProvenFunction:
    """What is to be proven of a function that is no trigger's."""
    variables: list[Variable] = []
    results: list[str] = []
    for mode, name, type_ in function.arguments:
        known = None if server.is_pseudo(type_) else type_
        if mode != "o" and mode != "t":
            variables.append(Variable(name, known, 0, "parameter", is_set=True))
        if mode in ("o", "b", "t"):
            results.append(f"c{len(results)} {server.sql_name(type_)}")
            if mode != "b":
                variables.append(Variable(name, known, 0, "result"))
    if not function.body.strip():
        variables.clear()
    returns = None if server.is_pseudo(function.returns) else server.sql_name(function.returns)
    if function.returns_set:
        by_query = [each for each in variables if each.role == "result"]
        for variable in by_query:  # RETURN QUERY sets no variable
            variable.is_set = True
        rows = f"TABLE({', '.join(results)})" if results else returns and f"SETOF {returns}"
    else:
        rows = None
    void = catalog.type_name(function.returns) == "void"
    return ProvenFunction(
        function.name,
        function.body,
        (*variables, *_special(_ALWAYS, server)),
        returns,
        not (void or function.returns_set or results),
        rows,
    )


def _trigger_subject(function: SchemaFunction, trigger: _Trigger, server: PlpgsqlServer) -> ProvenFunction:
    rows = [Variable(name, trigger.row_type, 0, "special", is_set=True) for name in ("new", "old")]
    return ProvenFunction(
        function.name,
        function.body,
        (*(rows if trigger.of_rows else ()), *_special(_ALWAYS | _IN_TRIGGERS, server)),
        server.sql_name(trigger.row_type) if trigger.of_rows else None,
        must_return=True,
        row_returns=None,
    )


# --- Reading ------------------------------------------------------------------------------------------

_FUNCTIONS: Final = """
SELECT
    p.oid::int8,
    p.proname,
    p.oid::regprocedure::text,
    l.lanname,
    p.prosrc,
    p.prosqlbody::text,
    (
        SELECT substr(c, length('search_path=') + 1)
        FROM unnest(p.proconfig) AS c
        WHERE starts_with(c, 'search_path=')
    ),
    p.prosecdef,
    EXISTS (
        SELECT
        FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
        WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE'
    ),
    p.prorettype::int8,
    p.proretset,
    coalesce(p.proargmodes::text[], array_fill('i'::text, ARRAY[p.pronargs::int])),
    coalesce(p.proargnames, array_fill(''::text, ARRAY[p.pronargs::int])),
    coalesce(p.proallargtypes::int8[], string_to_array(p.proargtypes::text, ' ')::int8[])
FROM pg_proc AS p
JOIN pg_language AS l ON l.oid = p.prolang
WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
    AND l.lanname IN ('plpgsql', 'sql')
    AND NOT EXISTS (
        SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    )
ORDER BY p.proname, 3
"""

_TRIGGERS: Final = """
SELECT DISTINCT
    t.tgfoid::int8,
    t.tgrelid::regclass::text,
    c.reltype::int8,
    t.tgtype & 1 = 1,
    t.tgoldtable::text,
    t.tgnewtable::text
FROM pg_trigger AS t
JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal
ORDER BY 1, 2
"""


def read_functions(connection: psycopg.Connection[Any]) -> list[SchemaFunction]:
    """The functions of the current schema in SQL and PL/pgSQL, but those of extensions."""
    names = [each.name for each in fields(SchemaFunction)]
    found: list[SchemaFunction] = []
    for *values, modes, argument_names, types in connection.execute(_FUNCTIONS).fetchall():
        arguments = tuple(zip(modes, argument_names, types, strict=True))
        found.append(SchemaFunction(**dict(zip(names, (*values, arguments), strict=True))))
    return found


def _read_triggers(connection: psycopg.Connection[Any]) -> dict[int, list[_Trigger]]:
    found: dict[int, list[_Trigger]] = {}
    for oid, *trigger in connection.execute(_TRIGGERS).fetchall():
        found.setdefault(oid, []).append(_Trigger(*trigger))
    return found
