"""Runs the cancellation tests on every interpreter and loop: ``python -m tests.support.pythons [VERSION ...]``.

For each version, the interpreter of that name on PATH or, without one, pyenv's newest of it: make its environment
(``.venv.VERSION``), run the tests of connections, cancellations and forks in it, then ``tests.chaos.cancellations``
with asyncio's own loop and with uvloop. A missing interpreter or loop is skipped with a printed reason. Exit code 1
when a run fails, or when there is no interpreter at all.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

VERSIONS: Final = ("3.12", "3.13", "3.14")
TESTS: Final = (
    "tests/unit/test_concurrency.py",
    "tests/integration/aio/test_connection.py",
    "tests/integration/aio/test_pool.py",
    "tests/integration/sync/test_connection.py",
    "tests/integration/sync/test_pool.py",
    "tests/integration/test_connection_life.py",
    "tests/integration/test_event_loops.py",
    "tests/integration/test_forks.py",
)
LOOPS: Final = ("asyncio", "uvloop")
_CHECKOUT: Final = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run all; 1 when something failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.pythons", description=__doc__)
    parser.add_argument("versions", nargs="*", default=VERSIONS)
    parser.add_argument("--interruptions", default="500", help="of each use, pool size and loop")
    options = parser.parse_args()
    results: dict[str, str] = {}
    for version in options.versions:
        interpreter = find(version)
        if interpreter is None:
            results[version] = f"skipped: there is no python{version} on PATH or in pyenv"
            continue
        results |= _run(version, interpreter, options.interruptions)
    print(*(f"{name}: {result}" for name, result in results.items()), sep="\n", flush=True)
    ran = [result for result in results.values() if not result.startswith("skipped")]
    return 0 if ran and all(result == "passed" for result in ran) else 1


def find(version: str) -> str | None:
    """An interpreter of the version that runs, which a shim of pyenv's on PATH may not do; None when there is none."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    places = sorted(root.glob(f"versions/{version}.*/bin/python{version}"), key=_release, reverse=True)
    for candidate in (shutil.which(f"python{version}"), *map(str, places)):
        if candidate is not None and _output(candidate, "-c", _VERSION) == version:
            return candidate
    return None


_VERSION: Final = "import sys; print('%d.%d' % sys.version_info[:2])"


def _release(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.parts[-3].split(".") if part.isdigit())


def _output(*command: str) -> str | None:
    """What a program prints; None when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _run(version: str, interpreter: str, interruptions: str) -> dict[str, str]:
    environment = f".venv.{version}"
    print(f"== {version}: {interpreter}", flush=True)
    made = _call("make", "--no-print-directory", f"VENV={environment}", f"PYTHON={interpreter}", "install")
    if made != "passed":
        return {version: "its environment cannot be made"}
    python = f"{environment}/bin/python"
    results = {f"{version}, tests": _call(python, "-m", "pytest", *TESTS)}
    for loop in LOOPS:
        name = f"{version}, cancellations with {loop}"
        if loop == "uvloop" and _output(python, "-c", "import uvloop") is None:
            results[name] = "skipped: uvloop cannot be imported"
            continue
        more = ["--uvloop"] if loop == "uvloop" else []
        cancel = [python, "-m", "tests.chaos.cancellations", "--interruptions", interruptions, *more]
        results[name] = _call(*cancel)
    return results


def _call(*command: str) -> str:
    print(f"-- {' '.join(command)}", flush=True)
    code = subprocess.run(command, cwd=_CHECKOUT, check=False).returncode
    return "passed" if code == 0 else f"failed with {code}"


if __name__ == "__main__":
    sys.exit(main())
