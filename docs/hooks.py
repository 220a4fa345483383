"""What the site has beside its pages: references of the command line and of the models; roles in docstrings as code."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.main import get_command

from nexgent_db import models
from nexgent_db.cli.app import app

_ROLE = re.compile(r":(?:class|meth|func|mod|attr):<code>~?(?:\w+\.)*(\w+)</code>")
_DOUBLE = re.compile(r"``(.+?)``")
_FOREIGN = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//[^>]*>|class=\"mermaid\""
)
_OPTION = re.compile(r"(?<![\w`-])(--?[a-z][a-z-]*\b|[A-Z]+_[A-Z_]+)")

_COMMANDS_HEAD = """# Command line

`nexgent-db COMMAND --help` prints the same. Without `DATABASE_URL` and `--database-url`, a command works on an embedded
PostgreSQL of this account's own; the cache commands then use an embedded Valkey beside it.

The exit code is 0 for success, 1 for a failure, which one line on stderr explains, and 2 for wrong usage. Commands that
compare something give 1 and 2 a meaning of their own, which stands in their description.
"""

_MODELS_HEAD = """# Models

Rows are frozen: a model is what a query returned, and never changes. Inputs are checked when they are made, and refuse
unknown names and values that their columns cannot hold: `InvalidInput` names each field at fault. Import both from
`nexgent_db.models`.

| type | is |
|---|---|
| `TokenNumber` | a `Decimal` of up to 20 digits before the point and 18 after it: an amount, a price, SOL |
| `UsdNumber`, `Percent` | a `Decimal` of up to 12 and 8 digits; of up to 16 and 4 (12.5 for 12.5 %) |
| `Amount` | a `TokenNumber` above 0 |
| `Fee`, `Price` | a `TokenNumber` of 0 or more |
| `AwareDatetime` | a `datetime` with a time zone; from the database, in UTC |
| `TokenAddress`, `ShortText` | a `str` of up to 255 characters |
| `WalletAddress`, `TokenSymbol` | a `str` of up to 44 characters; of up to 20 |
| `LongText` | a `str` of up to 100,000 characters |
| `Counter`, `BigInt` | an `int` of 32 bits, from 0 on; of 64 bits |
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the references of the command line and of the models, as they describe themselves."""
    pages = {
        "reference/cli.md": [_COMMANDS_HEAD, *_group(get_command(app), "nexgent-db")],
        "reference/models.md": [_MODELS_HEAD, *_models()],
    }
    for path, parts in pages.items():
        files.append(File.generated(config, path, content="\n".join(parts)))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Show Sphinx roles, which the docstrings have for editors, as the name alone."""
    return _ROLE.sub(r"<code>\1</code>", html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse what a browser would fetch from elsewhere, and Mermaid, for which the theme would fetch a script."""
    if (found := _FOREIGN.search(output)) is not None:
        raise PluginError(f"{page.file.src_uri} fetches from outside: {found[0]}")
    return output


# --- The command line ---------------------------------------------------------------------------


def _group(group: Any, name: str) -> Iterator[str]:
    yield f"\n## {name}\n\n{_as_code(group.help)}\n"
    yield from _table(group.params)
    groups = {sub: each for sub, each in group.commands.items() if hasattr(each, "commands")}
    for sub, command in group.commands.items():
        if sub not in groups:
            yield f"\n### {name} {sub}\n\n{_as_code(command.help)}\n"
            yield from _table(command.params)
    for sub, each in groups.items():
        yield from _group(each, f"{name} {sub}")


def _table(parameters: list[Any]) -> Iterator[str]:
    if parameters:
        yield "| | meaning | default |\n|---|---|---|"
    for parameter in parameters:
        meaning = _as_code(" ".join(parameter.help.split())).replace("|", "\\|")
        yield f"| {_shown(parameter)} | {meaning} | {_default(parameter)} |"


def _shown(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar}`"
    value = "" if parameter.is_flag else f" {parameter.metavar or 'N'}"
    return ", ".join(f"`{option}{value}`" for option in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.envvar:
        return f"`{parameter.envvar}`"
    value = parameter.default
    return "" if value is None or value == "" or isinstance(value, bool) else f"`{value}`"


def _as_code(text: str) -> str:
    """Options and variables as code, so that two hyphens stay two; the rest is Markdown already."""
    return _OPTION.sub(r"`\1`", text)


# --- The models ---------------------------------------------------------------------------------


def _models() -> Iterator[str]:
    for found in pkgutil.iter_modules(models.__path__):
        if not found.name.startswith("_"):
            module = importlib.import_module(f"{models.__name__}.{found.name}")
            yield f"\n## {found.name.replace('_', ' ').capitalize().replace('Api', 'API')}\n\n{_prose(module)}"
            for name, thing in vars(module).items():
                if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__:
                    yield from _documented(thing)


def _documented(thing: Any) -> Iterator[str]:
    if not (inspect.isclass(thing) and issubclass(thing, BaseModel)):
        return
    yield f"\n### {thing.__name__} {{ #{thing.__module__}.{thing.__name__} }}\n\n{_prose(thing)}\n"
    own = inspect.get_annotations(thing)
    yield from _fields({name: field for name, field in thing.model_fields.items() if name in own}, own)
    if inherited := [f"`{name}`" for name in thing.model_fields if name not in own]:
        yield f"\nAlso: {', '.join(inherited)}, as in {_bases(thing)}."
    for name, member in vars(thing).items():
        member = member.fget if isinstance(member, property) else member
        if inspect.isfunction(member) and not name.startswith("_"):
            yield f"\n`{name}`: {_prose(member)}"


def _fields(fields: dict[str, FieldInfo], annotations: dict[str, Any]) -> Iterator[str]:
    """A table; with a column of defaults where there are any."""
    with_defaults = any(not field.is_required() for field in fields.values())
    if fields:
        yield "| field | type | default |\n|---|---|---|" if with_defaults else "| field | type |\n|---|---|"
    for name, field in fields.items():
        annotation = annotations[name]
        kind = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
        default = "required" if field.is_required() else "" if field.default_factory else f"`{field.default!r}`"
        yield f"| `{name}` | `{kind}` |" + (f" {default} |" if with_defaults else "")


def _bases(kind: type[BaseModel]) -> str:
    return " and ".join(f"`{base.__name__}`" for base in kind.__mro__[1:] if getattr(base, "model_fields", None))


def _prose(thing: ModuleType | Any) -> str:
    return _DOUBLE.sub(r"`\1`", inspect.getdoc(thing) or "")
