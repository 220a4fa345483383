"""A service's queries: those of the repositories that its modules define, and of its folders of query files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from nexgent_db.contract._file import digest_of
from nexgent_db.contract._source import Source, sources_of, without_method
from nexgent_db.errors import QueryBindingError
from nexgent_db.queries.sqlfile import SqlFile, load_directory
from nexgent_db.resources import data_dir

__all__ = ["own_sources"]


def own_sources(repositories: Iterable[type], modules: Sequence[str], folders: Iterable[Path]) -> list[Source]:
    """The queries of the repositories below these classes that the imported modules, or modules in them, define; and
    those of the folders' files that none of these calls. By file and line.

    Raises SqlFileError for a folder or file that cannot be read; QueryBindingError, with both places, for a file whose
    name another one has, and for a query that two methods declare differently.
    """
    found: dict[tuple[Path, str], Source] = {}
    files: dict[str, Path] = {path.stem: path for path in data_dir("sql").glob("*.sql")}
    for repository in repositories:
        for each in _repositories(repository, modules):
            for source in sources_of(vars(each).get("queries", {}).values()):
                path = source.query.path.resolve()
                _ensure_own_name(path, files)
                first = found.setdefault((path, source.query.name), source)
                if digest_of(first) != digest_of(source):
                    raise QueryBindingError(
                        f"{source.query.path}:{source.query.line}: {source.query.qualified_name} is declared"
                        f" differently: {first.python}, {source.python}"
                    )
    bound = {path for path, _ in found}
    for file in _files(folders):
        path = file.path.resolve()
        _ensure_own_name(path, files)
        if path not in bound:
            found |= {(path, name): without_method(query) for name, query in file.queries.items()}
    queries = sorted(found.values(), key=lambda each: (each.query.file, each.query.line))
    return [replace(each, own=True) for each in queries]


def _repositories(above: type, modules: Sequence[str]) -> Iterator[type]:
    below: list[type] = above.__subclasses__()
    for each in below:
        if any(each.__module__ == name or each.__module__.startswith(f"{name}.") for name in modules):
            yield each
        yield from _repositories(each, modules)


def _files(folders: Iterable[Path]) -> Iterator[SqlFile]:
    for folder in folders:
        yield from load_directory(folder).values()


def _ensure_own_name(path: Path, files: dict[str, Path]) -> None:
    if (other := files.setdefault(path.stem, path)) != path:
        raise QueryBindingError(f"{path}:1: its queries would have the names of those of {other}: rename the file")
