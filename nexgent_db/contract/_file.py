"""The committed contract, ``sql/contract.json``: the parameters and rows of every query, for a diff and for a machine
without PostgreSQL. A service has one of its own queries, made with its migrations as well.

Each query has one line for each outcome. Variants with the same columns and number of rows share a line, which counts
them and names the arguments given in the first. ``digest`` covers the statements, the signature and the model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from nexgent_db.contract._checked import CheckedQuery, CheckedVariant
from nexgent_db.contract._declared import declared, fields_of
from nexgent_db.contract._problem import Problem
from nexgent_db.contract._source import Source
from nexgent_db.errors import ConfigurationError
from nexgent_db.queries.rows import union_parts
from nexgent_db.resources import data_dir

__all__ = ["VERSION", "ContractFile", "compare", "compare_offline", "contract_path", "read", "render"]

VERSION: Final = 1
"""The version of the file's format."""


@dataclass(frozen=True, slots=True)
class ContractFile:
    """A contract: its path, the folders of migrations that make its schema, and the command that writes it."""

    path: Path
    migrations: tuple[Path, ...]
    command: str

    @classmethod
    def of_package(cls) -> ContractFile:
        """This package's own, which is beside its queries in a checkout and in a wheel."""
        return cls(data_dir("sql") / "contract.json", (data_dir("migrations"),), "make contract")

    @classmethod
    def of_service(cls, path: Path, migrations: Iterable[Path]) -> ContractFile:
        """A service's, whose schema is made by this package's migrations and by its own."""
        return cls(path, (data_dir("migrations"), *migrations), "nexgent-db check --plans --write")

    def digest(self) -> str:
        """The digest of the names and contents of all migrations."""
        digest = hashlib.sha256()
        for folder in self.migrations:
            for path in sorted(folder.glob("*.sql")):
                if not path.name.endswith(".rollback.sql"):
                    digest.update(f"{path.name}\0{path.read_text(encoding='utf-8')}\0".encode())
        return digest.hexdigest()[:16]


def contract_path() -> Path:
    """The path of this package's contract."""
    return ContractFile.of_package().path


def render(
    queries: Iterable[CheckedQuery], indexes: Mapping[str, Sequence[str]], file: ContractFile | None = None
) -> str:
    """The contract's text; this package's unless ``file`` is another."""
    lines = [json.dumps(line, ensure_ascii=False) for line in _lines(queries, indexes)]
    head = json.dumps({"version": VERSION, "migrations": (file or ContractFile.of_package()).digest()})[:-1]
    return f'{head}, "queries": [\n' + ",\n".join(lines) + "\n]}\n"


def read(path: Path | None = None) -> dict[str, Any] | None:
    """The committed contract; None when there is none. Raises ConfigurationError for a file that is not JSON."""
    path = path or contract_path()
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is no contract: {error}") from None
    return found if isinstance(found, dict) else None


def compare(
    queries: Sequence[CheckedQuery], committed: dict[str, Any] | None, file: ContractFile | None = None
) -> list[Problem]:
    """The differences between the report and the committed contract."""
    facts = {each.source.query.qualified_name: _lines([each], {}) for each in queries}
    return _stale([each.source for each in queries], committed, facts, file or ContractFile.of_package())


def compare_offline(
    sources: Sequence[Source], committed: dict[str, Any] | None, file: ContractFile | None = None
) -> list[Problem]:
    """The differences between the present code and SQL and those that the committed contract was made from."""
    return _stale(sources, committed, None, file or ContractFile.of_package())


def _stale(
    sources: Sequence[Source],
    committed: dict[str, Any] | None,
    facts: Mapping[str, list[dict[str, Any]]] | None,
    file: ContractFile,
) -> list[Problem]:
    def problem(path: Path, name: str, is_now: str, actual: str, source: Source | None = None) -> Problem:
        return Problem(
            rule="stale contract",
            query=name,
            sql_path=path,
            sql_line=source.query.line if source else 1,
            sql_column=1,
            python=source.python if source else None,
            declared=is_now,
            actual=actual,
            advice=f"look at what changed, then {file.command}",
        )

    if committed is None or committed.get("version") != VERSION:
        return [problem(file.path, file.path.name, "a contract", "there is none of this version")]
    lines: dict[str, list[dict[str, Any]]] = {}
    for line in committed["queries"]:
        lines.setdefault(line["query"], []).append({key: value for key, value in line.items() if key != "indexes"})
    problems: list[Problem] = []
    if facts is None and committed["migrations"] != file.digest():
        problems.append(problem(file.path, file.path.name, "the migrations it was made with", "they have changed"))
    for source in sources:
        path, name = source.query.path, source.query.qualified_name
        old = lines.pop(name, None)
        if old is None:
            problems.append(problem(path, name, "a query", "the contract has none of this name", source))
        elif old[0]["digest"] != digest_of(source):
            problems.append(problem(path, name, "statement, signature or model", "the contract has another", source))
        elif facts is not None and facts[name] != old:
            is_now = _first_difference(facts[name], old)
            problems.append(problem(path, name, is_now, "the contract differs", source))
    problems += [problem(file.path, name, "no such query", "the contract still has it") for name in lines]
    return problems


def _first_difference(new: list[dict[str, Any]], old: list[dict[str, Any]]) -> str:
    for one, other in zip(new, old, strict=False):
        for key in one:
            if one.get(key) != other.get(key):
                return f"{key} {one.get(key)!r}, no longer {other.get(key)!r}"
    return f"{len(new)} outcomes, no longer {len(old)}"


def _lines(queries: Iterable[CheckedQuery], indexes: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for checked in queries:
        source = checked.source
        outcomes: dict[tuple[Any, ...], list[CheckedVariant]] = {}
        for variant in checked.variants:
            outcomes.setdefault((variant.rows, variant.columns), []).append(variant)
        for (rows, columns), variants in outcomes.items():
            types = {
                name: type_
                for variant in variants
                for name, type_ in zip(variant.statement.parameters, variant.parameter_types, strict=True)
            }
            line: dict[str, Any] = {
                "query": source.query.qualified_name,
                "cardinality": str(source.query.cardinality),
                "rows": rows,
                "parameters": ", ".join(
                    f"{name} {type_}{'?' * (source.bound is not None and source.may_be_null(name))}"
                    for name, type_ in types.items()
                ),
                "columns": ", ".join(f"{each.name} {each.type}{'?' * each.nullable}" for each in columns),
                "reads": sorted(frozenset().union(*(variant.reads for variant in variants))),
                "writes": sorted(frozenset().union(*(variant.writes for variant in variants))),
                "digest": digest_of(source),
            }
            if source.query.optional:
                given = [name for name in variants[0].statement.parameters if name not in source.query.required]
                line |= {"variants": len(variants), "first_given": given}
            if found := indexes.get(source.query.qualified_name):
                line["indexes"] = list(found)
            lines.append(line)
    return lines


def digest_of(source: Source) -> str:
    """The digest of the statements, the signature and the model."""
    digest = hashlib.sha256()
    for variant in source.variants():
        digest.update(f"{variant.text}\0".encode())
    for name, found in sorted(source.parameters.items()):
        digest.update(f"{name}: {_stable(found)}\0".encode())
    digest.update(_signature(source.bound.result if source.bound else None).encode())
    for override in source.overrides:
        digest.update(f"{override.rule} {override.subject}\0".encode())
    return digest.hexdigest()[:16]


def _signature(row: Any) -> str:
    if row is None:
        return "none"
    if get_origin(row) is tuple:
        return " + ".join(
            f"{_signature(union_parts(part)[0])}{' or none' * (NoneType in union_parts(part))}"
            for part in get_args(row)
        )
    if isinstance(row, type) and issubclass(row, BaseModel):
        fields = ", ".join(f"{name}: {_stable(found)}" for name, found in fields_of(row).items())
        return f"{row.__name__}({fields})"
    return _stable(declared(row))


def _stable(found: Any) -> str:
    values = sorted(found.values) if found.values is not None else None
    element = _stable(found.element) if found.element is not None else None
    return f"{found.kind} {found.nullable} {found.either} {values} {found.exact} {element}"
