"""Proves queries against a live database: see :func:`check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import psycopg

from nexgent_db.contract._cardinality import RETURNS_ROWS, check_cardinality
from nexgent_db.contract._catalog import ServerCatalog, read_catalog
from nexgent_db.contract._checked import CheckedColumn, CheckedQuery, CheckedVariant, Report
from nexgent_db.contract._collation import COLLATION_RULE, case_word, uses_database_collation
from nexgent_db.contract._expressions import Parameter
from nexgent_db.contract._findings import FieldsSeen, Findings
from nexgent_db.contract._nodes import Node
from nexgent_db.contract._nullability import Analysis
from nexgent_db.contract._parameters import check_literals, check_parameters
from nexgent_db.contract._result import Shown, check_result, shown_columns
from nexgent_db.contract._scope import Scope
from nexgent_db.contract._server import Described, Refused, Server
from nexgent_db.contract._source import Source
from nexgent_db.contract._tables import Tables
from nexgent_db.contract._writes import check_writes
from nexgent_db.project import LEDGER_TABLES
from nexgent_db.queries.citus import refusals
from nexgent_db.queries.statement import Statement

__all__ = ["check"]

_OF_PLANS: Final = "seq scan"  # the plans check this rule, not the statement


def check(
    connection: psycopg.Connection[Any],
    sources: Iterable[Source],
    on_query: Callable[[Source], None] | None = None,
) -> Report:
    """Prove every variant of every query on a migrated database. Problems are returned, never raised.

    The check prepares and describes each statement, and creates functions in ``pg_temp`` to read PostgreSQL's parse
    tree. It executes no query. It runs in one transaction, which it rolls back.
    """
    checked: list[CheckedQuery] = []
    seen = FieldsSeen()
    with connection.transaction(force_rollback=True):
        catalog = read_catalog(connection)
        server = Server(connection, catalog)
        tables = Tables(connection, catalog)
        for source in sources:
            if on_query is not None:
                on_query(source)
            checked.append(_QueryCheck(source, server, tables, catalog, seen).run())
    problems = [problem for each in checked for problem in each.problems]
    problems += seen.needlessly_optional()
    problems.sort(key=lambda each: (str(each.sql_path), each.sql_line, each.sql_column, each.rule))
    return Report(connection.info.server_version, tuple(checked), tuple(problems))


class _QueryCheck:
    """Checks one query in all its variants."""

    def __init__(
        self, source: Source, server: Server, tables: Tables, catalog: ServerCatalog, seen: FieldsSeen
    ) -> None:
        self.source = source
        self.server = server
        self.tables = tables
        self.catalog = catalog
        self.seen = seen
        self.findings = Findings(source, catalog)

    def run(self) -> CheckedQuery:
        self.text()
        variants: list[CheckedVariant] = []
        refused = False
        for statement in self.source.variants():
            try:
                if (variant := self.variant(statement)) is not None:
                    variants.append(variant)
            except Refused as error:
                refused = True
                self.refused(error, statement)
        if not refused:
            self.unused_overrides()
        return CheckedQuery(self.source, variants, self.findings.problems)

    # --- The text ---------------------------------------------------------------------------------------

    def text(self) -> None:
        """Check the text of the query; needs no database."""
        for place in self.source.text.stars():
            self.findings.report(
                "select star", place, "all columns, by *", "that a migration may add, drop or reorder them", "name them"
            )
        for line, column, text in self.source.bad_overrides:
            self.findings.report(
                "unknown override",
                (line, column),
                text,
                "nothing: no check is called that",
                "write -- check: one | order | limit | rows | stored rows | not null COLUMN | nullable COLUMN |"
                " numeric COLUMN | values COLUMN | filled COLUMN | seq scan TABLE, then : and the reason",
            )

    def refused(self, error: Refused, statement: Statement) -> None:
        place = self.source.query.location(error.position, statement) if error.position else self.findings.start
        self.findings.report(
            "refused", place, "a statement", error.message, "correct the statement, or migrate the schema"
        )

    def unused_overrides(self) -> None:
        for override in self.findings.unused():
            if override.rule != _OF_PLANS:
                self.findings.report(
                    "needless override",
                    (override.line, override.column),
                    f"-- check: {override.rule} {override.subject}".rstrip(),
                    "that this holds anyway, or is about no column of this query",
                    "remove the comment",
                )

    # --- One variant ------------------------------------------------------------------------------------

    def variant(self, statement: Statement) -> CheckedVariant | None:
        """Check one statement; None when the database rejects the types that the driver sends."""
        types, columns = self.server.describe(statement.text, ())
        as_sent = self.as_sent(statement, types, columns)
        if as_sent is None:
            return None
        sent_types, sent_columns = as_sent
        tree = self.server.parse(statement.text, sent_types, has_rows=bool(columns))
        scope = Scope(tree, None, self.catalog)
        known = self.known(statement)
        nulls = Analysis(self.catalog, known, lambda: self.findings.excused("stored rows")).columns(tree)
        shown = shown_columns(self.findings, sent_columns, nulls, tree)
        check_parameters(self.findings, statement, types, tree)
        check_writes(self.findings, statement, tree, known)
        check_literals(self.findings, statement, tree)
        if self.source.own:
            self.ledger(tree)
        if uses_database_collation(tree, self.catalog):
            rule, *said = COLLATION_RULE
            self.findings.report(rule, self.source.query.location(case_word(statement.text) + 1, statement), *said)
        for refusal in refusals(statement.text):
            place = self.source.query.location(refusal.offset + 1, statement)
            self.findings.report(refusal.rule, place, refusal.text, "that Citus refuses it in a cell", refusal.advice)
        rows = check_cardinality(self.findings, tree, scope, has_rows=bool(columns))
        bound = self.source.bound
        if bound is not None and self.source.query.cardinality in RETURNS_ROWS and columns:
            check_result(self.findings, self.seen, bound.result, shown, scope)
        return CheckedVariant(
            statement,
            tuple(self.catalog.type_name(oid) for oid in types),
            tuple(map(self.checked_column, shown)),
            rows,
            *self.tables.of(tree),
        )

    def ledger(self, tree: Node) -> None:
        """Report the ledger's tables that a service's query writes. Functions that it calls have their own rights."""
        for table in sorted(self.tables.written_by(tree) & LEDGER_TABLES):
            self.findings.report(
                "ledger",
                self.findings.word_place(table),
                f"rows of {table} written by a service's query",
                "that only trades write them: the roles of services have no right to",
                "use a trade, or a table of your own",
            )

    def as_sent(
        self, statement: Statement, types: list[int], columns: list[Described]
    ) -> tuple[list[int], list[Described]] | None:
        """Describe the statement again with the types that the driver sends; None when the database rejects them."""
        sent = [
            found.sent_as(self.catalog) if (found := self.source.parameters.get(name)) else 0
            for name in statement.parameters
        ]
        if not any(sent):
            return types, columns
        try:
            sent_types, sent_columns = self.server.describe(statement.text, sent)
        except Refused as error:
            self.refused_as_sent(error, statement, types, sent)
            return None
        for number, (one, other) in enumerate(zip(columns, sent_columns, strict=True)):
            if one.type != other.type:
                self.findings.report(
                    "unstable type",
                    self.findings.item_place(number),
                    f"one type for {one.name}",
                    f"{self.catalog.type_name(one.type)}, or {self.catalog.type_name(other.type)} when the parameters"
                    " are values",
                    "cast the parameter (:name::type)",
                )
        return sent_types, sent_columns

    def refused_as_sent(self, error: Refused, statement: Statement, types: list[int], sent: Sequence[int]) -> None:
        """Report the parameter that the database rejected, by name if it is known."""
        check_parameters(self.findings, statement, types, None)
        if self.findings.has("parameter type", "float"):
            return
        names = ", ".join(
            f":{name} as {self.catalog.type_name(oid)}"
            for name, oid in zip(statement.parameters, sent, strict=True)
            if oid
        )
        self.findings.report(
            "parameter type",
            self.source.query.location(error.position or 1, statement),
            "parameters as the driver sends them",
            f"{error.message} (sent: {names})",
            "cast the parameter (:name::type) or change its annotation",
        )

    def known(self, statement: Statement) -> Mapping[int, Parameter]:
        """By parameter number: whether its annotation allows NULL."""
        known: dict[int, Parameter] = {}
        for number, name in enumerate(statement.parameters, 1):
            found = self.source.parameters.get(name)
            element = found.element if found else None
            known[number] = Parameter(
                self.source.may_be_null(name), element_nullable=element is None or element.nullable
            )
        return known

    def checked_column(self, column: Shown) -> CheckedColumn:
        described = column.described
        return CheckedColumn(
            described.name,
            self.catalog.type_name(described.type, described.modifier),
            bool(column.nulls) and not self.findings.has_override("not null", described.name),
        )
