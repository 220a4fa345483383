"""What a service adds to this package: the section ``[tool.nexgent-db]`` of its pyproject.toml.

| key | value | meaning |
|---|---|---|
| ``modules`` | list of modules | they define the service's repositories; packages with all below them |
| ``sql`` | list of folders | the service's query files; each query needs a method, or is listed without one |
| ``contract`` | file | their contract, by ``check --write``; ``contract.json`` in the first ``sql`` folder by default |
| ``migrations`` | table of name = folder | folders of migrations, each with a history of this name in the database |
| ``ignore-drift`` | list of names | objects that ``drift`` passes over, as it names them |

Paths are relative to the file. A module is also looked for beside the file and in ``src``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from nexgent_db.errors import ConfigurationError

__all__ = ["LEDGER_TABLES", "PACKAGE_HISTORY", "Project", "check_history_name"]

PACKAGE_HISTORY: Final = "nexgent_db"
"""The history of this package's own migrations."""
LEDGER_TABLES: Final = frozenset(
    {
        "agent_balances",
        "agent_positions",
        "agent_transactions",
        "agent_historical_swaps",
        "trade_requests",
        "ledger_purges",
        "adopted_deviations",
        "agent_transaction_keys",
    }
)
"""The tables that only trades and this package's migrations write: the roles of services have no right to."""

_SECTION: Final = "[tool.nexgent-db]"
_KEYS: Final = ("modules", "sql", "contract", "migrations", "ignore-drift")
_MODULE: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_HISTORY: Final = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_LONGEST_HISTORY: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The files of a service; empty without a section. ``file`` is the pyproject.toml. All paths are absolute."""

    file: Path | None = None
    modules: tuple[str, ...] = ()
    sql: tuple[Path, ...] = ()
    migrations: Mapping[str, Path] = field(default_factory=dict)
    """The folders by the name of their history, in the order in which they are applied: after this package's own."""
    contract: Path | None = None
    """None when there are neither modules nor SQL files."""
    ignore_drift: tuple[str, ...] = ()

    @classmethod
    def find(cls, start: Path | None = None, options: Mapping[str, object] = MappingProxyType({})) -> Project:
        """The project of ``start``, the working directory by default: of the nearest pyproject.toml with the section,
        there or above. Without one, an empty project. ``options`` replace keys of the section.

        Raises ConfigurationError with file and key: a file that is not TOML, an unknown key, a malformed value.
        """
        folder = (start or Path.cwd()).resolve()
        for place in (folder, *folder.parents):
            file = place / "pyproject.toml"
            if file.is_file() and (section := _section(file)) is not None:
                return cls._read(file, {**section, **options})
        return replace(cls._read(folder / "pyproject.toml", options), file=None)

    @classmethod
    def _read(cls, file: Path, section: Mapping[str, object]) -> Project:
        _ensure_known(file, section)
        modules = _texts(file, section, "modules")
        for module in modules:
            if not _MODULE.fullmatch(module):
                raise _error(file, "modules", f"{module!r} is not the name of a module")
        sql = tuple(file.parent / path for path in _texts(file, section, "sql"))
        contract = section.get("contract", "contract.json" if modules or sql else None)
        if not isinstance(contract, str | None) or contract == "":
            raise _error(file, "contract", "should be the path of a file")
        beside = sql[0] if sql and "contract" not in section else file.parent
        return cls(
            file=file,
            modules=modules,
            sql=sql,
            migrations=MappingProxyType(dict(_migrations(file, section))),
            contract=None if contract is None else beside / contract,
            ignore_drift=_texts(file, section, "ignore-drift"),
        )


def check_history_name(name: str) -> str:
    """Returns ``name`` when a history may have it. Raises ConfigurationError."""
    if not _HISTORY.fullmatch(name) or len(name) > _LONGEST_HISTORY:
        raise ConfigurationError(
            f"{name!r} cannot name a history of migrations: lower-case letters and digits with single underscores, at"
            f" most {_LONGEST_HISTORY} characters"
        )
    if name == PACKAGE_HISTORY:
        raise ConfigurationError(f"the history {name} is that of this package's own migrations: take another name")
    return name


def _section(file: Path) -> Mapping[str, object] | None:
    import tomllib  # a service that runs needs only the names above

    try:
        found: object = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{file}: is not TOML: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{file}: cannot be read: {error.strerror}") from None
    for key in ("tool", "nexgent-db"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if found is not None and not isinstance(found, Mapping):
        raise ConfigurationError(f"{file}: {_SECTION} should be a table")
    return found


def _ensure_known(file: Path, section: Iterable[str]) -> None:
    for key in section:
        if key not in _KEYS:
            near = difflib.get_close_matches(key.replace("_", "-"), _KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(_KEYS)}"
            raise ConfigurationError(f"{file}: {_SECTION}: unknown key {key!r}: {hint}")


def _texts(file: Path, section: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = section.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise _error(file, key, 'should be a list of texts, such as ["…"]')
    if twice := next((each for at, each in enumerate(value) if each in value[:at]), None):
        raise _error(file, key, f"{twice!r} is given twice")
    return tuple(value)


def _migrations(file: Path, section: Mapping[str, object]) -> Iterable[tuple[str, Path]]:
    value = section.get("migrations", {})
    if not isinstance(value, Mapping):
        raise _error(file, "migrations", 'should be a table: { my_service = "migrations" }, by the name of the history')
    for name, path in value.items():
        try:
            check_history_name(name)
        except ConfigurationError as error:
            raise _error(file, "migrations", str(error)) from None
        if not isinstance(path, str) or not path:
            raise _error(file, f"migrations.{name}", "should be the path of a folder")
        yield name, file.parent / path


def _error(file: Path, key: str, problem: str) -> ConfigurationError:
    return ConfigurationError(f"{file}: {_SECTION}: {key}: {problem}")
