"""Plants bugs in a copy of the tree, one at a time, and runs the test that must catch each."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutations.planted import Mutation

ROOT: Final = Path(__file__).resolve().parents[2]
_FAILED: Final = 1
"""pytest's exit code when tests failed; others mean that they could not be run."""


@dataclass(frozen=True)
class Verdict:
    """What became of one planted bug. ``why`` is the test's own message when it was caught, else what went wrong."""

    mutation: Mutation
    caught: bool
    seconds: float
    why: str


@contextmanager
def copied_tree() -> Iterator[Path]:
    """A copy of every file that git knows or would add."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    with tempfile.TemporaryDirectory(prefix="nexgent-mutations-") as directory:
        tree = Path(directory)
        for name in filter(None, names):
            if (ROOT / name).is_file():  # a deleted file is listed until its deletion is committed
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, tree / name)
        yield tree


def passes_without(tree: Path, mutations: Sequence[Mutation]) -> str:
    """Run the tests in the untouched copy; empty when all pass, else the end of pytest's output."""
    code, output = _pytest(tree, sorted({mutation.test for mutation in mutations}))
    return "" if code == 0 else "\n".join(re.findall("^(?:FAILED|ERROR).*", output, re.MULTILINE)) or output[-3000:]


def verdict_of(tree: Path, mutation: Mutation) -> Verdict:
    """Plant the bug, run its test, and take the bug out again."""
    file = tree / mutation.path
    text = file.read_text(encoding="utf-8")
    file.write_text(mutation.mutated(text), encoding="utf-8")
    started = time.monotonic()
    try:
        code, output = _pytest(tree, [mutation.test])
    finally:
        file.write_text(text, encoding="utf-8")
    seconds = time.monotonic() - started
    failure = re.search(rf"^FAILED .*::{mutation.test_name}\b.*?(?: - (.*))?$", output, re.MULTILINE)
    if code == _FAILED and failure is not None:
        return Verdict(mutation, True, seconds, failure[1] or "")
    return Verdict(
        mutation, False, seconds, "the test passes" if code == 0 else f"pytest ends with {code}: {output[-600:]}"
    )


def _pytest(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "COLUMNS": "200", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr
