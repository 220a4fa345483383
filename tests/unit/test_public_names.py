"""The public names: sorted, complete, documented and typed."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel

import nexgent_db
from nexgent_db import errors, models
from nexgent_db.aio import repositories as aio_repositories
from nexgent_db.sync import repositories as sync_repositories

PACKAGE = Path(nexgent_db.__file__).parent


def natural_order(name: str) -> tuple[int, str]:
    """As ruff sorts ``__all__``: constants, then classes, then the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("module", [nexgent_db, models, errors])
def test_all_is_sorted_and_its_names_exist(module: ModuleType) -> None:
    assert module.__all__ == sorted(set(module.__all__), key=natural_order)
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("module", [models, errors])
def test_all_lists_every_reexported_name(module: ModuleType) -> None:
    shown = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert shown == set(module.__all__)


def test_names_of_the_package_are_imported_at_first_use() -> None:
    program = (
        "import sys, nexgent_db; assert set(nexgent_db.__all__) <= set(dir(nexgent_db));"
        "assert 'psycopg' not in sys.modules; nexgent_db.errors.NexgentError; nexgent_db.AsyncDatabase;"
        "assert 'psycopg' in sys.modules and 'AsyncDatabase' in vars(nexgent_db); nexgent_db.AsyncDatabases"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    said = "AttributeError: module 'nexgent_db' has no attribute 'AsyncDatabases'"
    assert done.stderr.splitlines()[-1].startswith(said), done.stderr


def test_star_import_gives_names_of_all() -> None:
    scope: dict[str, object] = {}
    exec("from nexgent_db import *", scope)
    assert scope.keys() - {"__builtins__"} == set(nexgent_db.__all__)


def test_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


# --- Documented ---------------------------------------------------------------------------------


def undocumented(tree: ast.Module) -> Iterator[str]:
    """Public classes, functions and methods without a docstring, and the module when it has none."""
    if tree.body and not ast.get_docstring(tree):
        yield "the module"
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield node.name
            bases = [getattr(base, "id", getattr(base, "attr", "")) for base in getattr(node, "bases", ())]
            if "Protocol" not in bases:  # generated: the class of that name says what its methods promise
                yield from (
                    f"{node.name}.{method.name}"
                    for method in (node.body if isinstance(node, ast.ClassDef) else ())
                    if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
                    if not (method.name.startswith("_") or ast.get_docstring(method))
                )


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_public_name_has_docstring(path: Path) -> None:
    assert list(undocumented(ast.parse(path.read_text()))) == []


def test_missing_docstring_is_found() -> None:
    source = "class A:\n    def b(self): ...\n    def _c(self): ...\nasync def d(): ...\ndef _e(): ...\n"
    assert list(undocumented(ast.parse(source))) == ["the module", "A", "A.b", "d"]


# --- One class of a name ------------------------------------------------------------------------


def homonyms(sources: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The public classes that two modules define under one name, and these modules."""
    modules: dict[str, list[str]] = {}
    for module, source in sources:
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules.setdefault(node.name, []).append(module)
    return {name: places for name, places in modules.items() if len(places) > 1}


def test_public_class_names_are_unique_in_the_package() -> None:
    paths = [path.relative_to(PACKAGE) for path in sorted(PACKAGE.rglob("*.py"))]
    # The synchronous classes are generated; the Protocols are named after the classes that they describe.
    sources = [(str(path), (PACKAGE / path).read_text()) for path in paths if path.parts[0] != "sync"]
    assert homonyms(sources) == {}


def test_two_classes_of_one_name_are_found() -> None:
    sources = [("a", "class A: ...\nclass _B: ..."), ("b", "class A: ...\nclass _B: ...\nclass C: ...")]
    assert homonyms(sources) == {"A": ["a", "b"]}


# --- Typed --------------------------------------------------------------------------------------


def classes_of(package: ModuleType) -> Iterator[type]:
    for path in sorted(Path(package.__path__[0]).glob("[!_]*.py")):
        module = importlib.import_module(f"{package.__name__}.{path.stem}")
        yield from (
            value
            for name, value in vars(module).items()
            if inspect.isclass(value) and value.__module__ == module.__name__ and not name.startswith("_")
        )


REPOSITORIES = [*classes_of(aio_repositories), *classes_of(sync_repositories)]
SHOWN = [getattr(nexgent_db, name) for name in nexgent_db.__all__] + [getattr(models, name) for name in models.__all__]
CLASSES = [*REPOSITORIES, *(each for each in SHOWN if inspect.isclass(each))]


def parts_of(annotation: Any) -> Iterator[Any]:
    """An annotation and everything inside it."""
    yield annotation
    if isinstance(annotation, list | tuple):  # the arguments of a Callable
        inside: tuple[Any, ...] = tuple(annotation)
    else:
        inside = get_args(annotation)
        yield from ([get_origin(annotation)] if inside else [])
    for part in inside:
        yield from parts_of(part)


MADE_BY_A_DATABASE = {"AsyncTransaction", "Transaction"}  # never by a caller: the constructor is not for them


def signatures_of(cls: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """The public methods and properties that the class itself defines, with their annotations."""
    for name, value in vars(cls).items():
        if name.startswith("_") and (name != "__init__" or cls.__name__ in MADE_BY_A_DATABASE):
            continue
        function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not inspect.isfunction(function) or function.__module__ != cls.__module__:
            continue
        yield name, get_type_hints(inspect.unwrap(function), include_extras=True)


def untyped(cls: type) -> list[str]:
    """Public methods that take or give Any, or do not say what."""
    found: list[str] = []
    for name, hints in signatures_of(cls):
        function = inspect.unwrap(
            getattr(vars(cls)[name], "fget", None) or getattr(vars(cls)[name], "__func__", vars(cls)[name])
        )
        arguments = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
        if {*arguments, "return"} - hints.keys() or any(Any in parts_of(hint) for hint in hints.values()):
            found.append(f"{cls.__name__}.{name}")
    return found


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_no_public_signature_has_any(cls: type) -> None:
    assert untyped(cls) == []


def test_any_is_found_in_nested_types() -> None:
    class Loose:
        def plain(self, value: Any) -> None: ...

        def hidden(self) -> dict[str, list[Any]]: ...  # type: ignore[empty-body]

        def unsaid(self, value) -> None: ...  # type: ignore[no-untyped-def]

        def fine(self, value: int) -> list[int]: ...  # type: ignore[empty-body]

        def _private(self, value: Any) -> None: ...

        @classmethod
        def made(cls, value: Any) -> None: ...

    assert untyped(Loose) == ["Loose.plain", "Loose.hidden", "Loose.unsaid", "Loose.made"]


def test_every_model_in_signature_is_exported() -> None:
    wanted: set[str] = set()
    for cls in REPOSITORIES:
        for _, hints in signatures_of(cls):
            for hint in hints.values():
                wanted |= {
                    part.__name__.partition("[")[0]
                    for part in parts_of(hint)
                    if inspect.isclass(part) and issubclass(part, BaseModel)
                }
    assert len(wanted) > 15
    assert wanted <= set(models.__all__)


def test_sync_and_async_classes_have_same_methods() -> None:
    kinds = [
        {f"{cls.__name__}.{name}" for cls in classes_of(package) for name, _ in signatures_of(cls)}
        for package in (aio_repositories, sync_repositories)
    ]
    assert kinds[0] == kinds[1]
    assert len(kinds[0]) > 20


def test_every_error_derives_from_root() -> None:
    kinds = [value for value in vars(errors).values() if inspect.isclass(value) and value is not errors.Fault]
    assert len(kinds) > 30
    assert all(issubclass(kind, nexgent_db.NexgentError) for kind in kinds)
