"""Checks the rows' column names, types, precision, values and NULLs against the model that they become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from nexgent_db.contract._catalog import CatalogColumn, numeric_of
from nexgent_db.contract._declared import Declared, declared, field_place, fields_of
from nexgent_db.contract._findings import FieldsSeen, Findings, listed
from nexgent_db.contract._nodes import Node
from nexgent_db.contract._numeric import decimals
from nexgent_db.contract._scope import MAYBE, NEVER, Nulls, Scope, outputs
from nexgent_db.contract._server import Described
from nexgent_db.queries.rows import union_parts

__all__ = ["Shown", "check_result", "shown_columns"]


@dataclass(slots=True)
class Shown:
    """A column of one variant, with its NULLs and its origin."""

    described: Described
    nulls: Nulls
    origin: CatalogColumn | None
    target: Any
    place: tuple[int, int]


def shown_columns(findings: Findings, columns: Sequence[Described], nulls: Sequence[Nulls], tree: Node) -> list[Shown]:
    """The columns of a statement, each with its NULLs, its table's column and its expression."""
    targets = [] if tree.get("setOperations") else [each["expr"] for each in outputs(tree)]
    found: list[Shown] = []
    for number, column in enumerate(columns):
        table = findings.catalog.tables.get(column.table)
        found.append(
            Shown(
                column,
                nulls[number] if number < len(nulls) else MAYBE,
                table.columns.get(column.table_column) if table else None,
                targets[number] if number < len(targets) else None,
                findings.item_place(number),
            )
        )
    return found


def check_result(findings: Findings, seen: FieldsSeen, row: Any, columns: Sequence[Shown], scope: Scope) -> None:
    """Check the columns against the method's result for one row: a model, several models, or one value."""
    _Result(findings, seen, scope).check(row, columns)


@dataclass(frozen=True, slots=True)
class _Receiver:
    """The target of a column's value: a field of a model, or the method's result itself."""

    declared: Declared
    model: type[BaseModel] | None = None
    field: str = ""

    @property
    def text(self) -> str:
        name = f"{self.model.__name__}.{self.field}" if self.model else "the result"
        return f"{name}: {self.declared.text}"

    @property
    def python(self) -> str | None:
        return field_place(self.model, self.field) if self.model else None


class _Result:
    """Checks the columns of one variant."""

    def __init__(self, findings: Findings, seen: FieldsSeen, scope: Scope) -> None:
        self.findings = findings
        self.seen = seen
        self.scope = scope

    def check(self, row: Any, columns: Sequence[Shown]) -> None:
        if get_origin(row) is tuple:
            self.side_by_side(get_args(row), columns)
        elif isinstance(row, type) and issubclass(row, BaseModel):
            self.model(row, columns, NEVER)
        elif len(columns) != 1:
            self.findings.report(
                "columns",
                self.findings.item_place(0),
                f"one column, {declared(row).text}",
                f"{len(columns)}: {', '.join(each.described.name for each in columns)}",
                "select one column, or return a model",
            )
        else:
            self.column(columns[0], _Receiver(declared(row)), NEVER)

    def side_by_side(self, parts: Sequence[Any], columns: Sequence[Shown]) -> None:
        models = [union_parts(part)[0] for part in parts]
        wanted = sum(len(model.model_fields) for model in models)
        if wanted != len(columns):
            self.findings.report(
                "columns",
                self.findings.item_place(0),
                f"{wanted} columns for {', '.join(model.__name__ for model in models)} side by side",
                f"{len(columns)} columns",
                "select every model's fields, one model after the other",
            )
            return
        start = 0
        for part, model in zip(parts, models, strict=True):
            own = columns[start : start + len(model.model_fields)]
            start += len(model.model_fields)
            if NoneType in union_parts(part):
                self.first_column(model, own[0])
                self.model(model, own, own[0].nulls)
            else:
                self.model(model, own, NEVER)

    def first_column(self, model: type[BaseModel], first: Shown) -> None:
        """The first column of an optional model: NULL in it means that there is no row."""
        if not first.nulls:
            self.findings.report(
                "nullability",
                first.place,
                f"{model.__name__} | None",
                f"{first.described.name}, its first column, is never NULL",
                f"declare {model.__name__}",
            )
        elif "?" in first.nulls:
            self.findings.report(
                "nullability",
                first.place,
                f"{model.__name__} | None",
                f"{first.described.name}, its first column, can be NULL in a row that is there",
                "put a NOT NULL column first: it shows whether there is a row",
            )

    def model(self, model: type[BaseModel], columns: Sequence[Shown], beside: Nulls) -> None:
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
            place = columns[names.index((surplus or twice)[0])].place if surplus or twice else None
            self.findings.report(
                "columns",
                place or self.findings.item_place(0),
                f"{model.__name__} with {len(fields)} fields",
                actual,
                "make the columns and the fields of the model the same",
                field_place(model, missing[0]) if missing else None,
            )
        for column in columns:
            name = column.described.name
            if name in fields:
                self.column(column, _Receiver(fields[name], model, name), beside)

    # --- One column -----------------------------------------------------------------------------------

    def column(self, column: Shown, receiver: _Receiver, beside: Nulls) -> None:
        """Check one column. ``beside`` holds the NULLs of its model's first column, which make the model None."""
        described, field = column.described, receiver.declared
        actual = self.findings.catalog.type_name(described.type, described.modifier)
        if not field.accepts(described.type, self.findings.catalog):
            is_float = field.kind == "float" and actual.startswith("numeric")
            self.findings.report(
                "float" if is_float else "column type",
                column.place,
                f"{receiver.text} ({field.expects()})",
                actual,
                "use Decimal" if is_float else "change the annotation, or cast the column",
                receiver.python,
            )
        elif field.exact is not None:
            self.numeric(column, receiver, *field.exact)
        if field.values is not None:
            self.values(column, receiver, field.values)
        if not field.either:
            self.nullability(column, receiver, beside)

    def numeric(self, column: Shown, receiver: _Receiver, precision: int, scale: int) -> None:
        described = column.described
        if described.modifier >= 4:
            if numeric_of(described.modifier) != (precision, scale):
                self.findings.report(
                    "numeric",
                    column.place,
                    receiver.text,
                    self.findings.catalog.type_name(described.type, described.modifier),
                    "give the field the column's precision and scale, or cast the column",
                    receiver.python,
                )
            return
        most = None if column.target is None else decimals(column.target, self.scope, self.findings.catalog)
        if (most is None or most > scale) and not self.findings.excused("numeric", described.name):
            what = "of unknown decimals" if most is None else f"with up to {most} decimals"
            self.findings.report(
                "numeric",
                column.place,
                receiver.text,
                f"numeric, {what}",
                f"cast it (::numeric({precision},{scale})), or -- check: numeric {described.name}: why it fits",
                receiver.python,
            )

    def values(self, column: Shown, receiver: _Receiver, values: frozenset[str]) -> None:
        described = column.described
        allowed = column.origin.allowed if column.origin else None
        if allowed is None:
            allowed = self.findings.catalog.enums.get(described.type)
        if allowed == values or self.findings.excused("values", described.name):
            return
        if allowed is None:
            actual = "any text: the column has no CHECK (… IN …) and is no enum"
            advice = f"declare str, add the CHECK, or -- check: values {described.name}: why there are no others"
        else:
            more, fewer = allowed - values, values - allowed
            actual = "; ".join(f"{what} {listed(which)}" for what, which in (("also", more), ("never", fewer)) if which)
            advice = "make the Literal and the column's values the same"
        self.findings.report("values", column.place, receiver.text, actual, advice, receiver.python)

    def nullability(self, column: Shown, receiver: _Receiver, beside: Nulls) -> None:
        nulls, label = column.nulls, column.described.name
        if beside and "?" not in beside and nulls <= beside:
            nulls = NEVER
        if receiver.declared.nullable:
            self.optional(column, receiver, nulls)
        elif nulls and not self.findings.excused("not null", label):
            self.findings.report(
                "nullability",
                column.place,
                receiver.text,
                f"{label} can be NULL{_why(nulls, column)}",
                f"declare {receiver.declared.text} | None, use coalesce(),"
                f" or -- check: not null {label}: why it is not",
                receiver.python,
            )

    def optional(self, column: Shown, receiver: _Receiver, nulls: Nulls) -> None:
        """Report an optional result without NULLs; a model's field only when no query can give NULL for it."""
        label = column.described.name
        surely = not nulls and (column.origin is None or column.origin.never_null)
        if surely and self.findings.excused("nullable", label):
            surely = False
        problem = self.findings.problem(
            "nullability",
            column.place,
            receiver.text,
            f"{label} is never NULL",
            f"declare it without None, or -- check: nullable {label}: why None is possible",
            receiver.python,
        )
        if receiver.model is not None:
            self.seen.add(receiver.model, receiver.field, problem if surely else None)
        elif surely:
            self.findings.add(problem)


def _why(nulls: Nulls, column: Shown) -> str:
    if "?" not in nulls:
        return ": an outer join may find no row"
    if column.origin is not None and not column.origin.never_null:
        return ": the column has no NOT NULL"
    return ""
