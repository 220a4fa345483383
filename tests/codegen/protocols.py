"""Writes a Protocol for each repository, from its class: ``python -m tests.codegen.protocols``.

With ``--check`` nothing is written: the diff is shown, and the exit status is 1. A Protocol has the signatures of the
public methods; their docstrings stay with the class. A default that is no plain value stands as ``...``.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Final

from ruff import find_ruff_bin  # type: ignore[import-untyped]

ROOT: Final = Path(__file__).resolve().parents[2]
SOURCES: Final = ROOT / "nexgent_db" / "aio" / "repositories"
TARGET: Final = SOURCES.parent / "protocols.py"
_HEAD: Final = '''# Generated from nexgent_db/aio/repositories by `make sync`: do not edit.
"""A Protocol for each repository: what a service may put in its place. The class of that name says what is promised."""

from __future__ import annotations

'''


def main() -> int:
    """Write or compare; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is stale")
    wanted = formatted(generate())
    found = TARGET.read_text() if TARGET.exists() else ""
    if wanted == found:
        return 0
    if parser.parse_args().check:
        diff = difflib.unified_diff(found.splitlines(), wanted.splitlines(), "committed", "generated", lineterm="")
        sys.stderr.write("\n".join([*diff, "stale: make sync writes it", ""]))
        return 1
    TARGET.write_text(wanted)
    return 0


def generate() -> str:
    """The module, not formatted yet."""
    imports: list[str] = ["from typing import Protocol"]
    classes: dict[str, str] = {}
    for path in sorted({*SOURCES.glob("*.py")} - {SOURCES / "base.py", SOURCES / "__init__.py"}):
        module = ast.parse(path.read_text())
        found = [node for node in module.body if isinstance(node, ast.ImportFrom) and node.module != "__future__"]
        imports += map(ast.unparse, found)
        own = {
            target.id: node.value
            for node in module.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in module.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                classes[f"{node.name}Protocol"] = "\n".join(_protocol(node, _Plainer(own)))
    exported = ", ".join(repr(name) for name in sorted(classes))
    return "\n".join([_HEAD, *imports, f"__all__ = [{exported},]", *(classes[name] for name in sorted(classes))])


def formatted(source: str) -> str:
    """As ruff leaves it, without the imports that are not used."""
    ruff = find_ruff_bin()
    for command in (["check", "--quiet", "--select=I001,F401,F811", "--fix"], ["format", "--quiet"]):
        done = subprocess.run(
            [ruff, *command, f"--stdin-filename={TARGET}", "-"],
            input=source,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        )
        source = done.stdout
    return source


def _protocol(node: ast.ClassDef, plainer: _Plainer) -> Iterator[str]:
    yield f"class {node.name}Protocol(Protocol):"
    yield f'    """What :class:`{node.name}` offers."""'
    for method in node.body:
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not method.name.startswith("_"):
            yield from _method(method, plainer)


def _method(method: ast.FunctionDef | ast.AsyncFunctionDef, plainer: _Plainer) -> Iterator[str]:
    arguments = method.args
    for argument in [*arguments.args, *arguments.kwonlyargs]:
        if argument.annotation is not None:
            argument.annotation = plainer.visit(argument.annotation)
    arguments.defaults = [_plain(default) for default in arguments.defaults]
    arguments.kw_defaults = [None if default is None else _plain(default) for default in arguments.kw_defaults]
    word = "async def" if isinstance(method, ast.AsyncFunctionDef) else "def"
    assert method.returns is not None, method.name
    method.returns = plainer.visit(method.returns)
    assert method.returns is not None
    yield f"    {word} {method.name}({ast.unparse(arguments)}) -> {ast.unparse(method.returns)}: ..."


class _Plainer(ast.NodeTransformer):
    """Callers see ``Annotated[X, …]`` as X: the repository's checks and short names are private to it."""

    def __init__(self, own: Mapping[str, ast.expr]) -> None:
        self._own = own

    def visit_Name(self, node: ast.Name) -> ast.AST:
        stands_for = self._own.get(node.id)
        return node if stands_for is None else self.visit(deepcopy(stands_for))

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "Annotated":
            assert isinstance(node.slice, ast.Tuple)
            return node.slice.elts[0]
        return node


def _plain(default: ast.expr) -> ast.expr:
    if isinstance(default, ast.Constant) or (isinstance(default, ast.Name) and default.id == "NOT_GIVEN"):
        return default
    return ast.Constant(...)


if __name__ == "__main__":
    sys.exit(main())
