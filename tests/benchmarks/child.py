"""Runs a command of ours as a process: its output and its peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended."""

    exit_code: int
    said: bytes
    memory_mb: float


def nexgent_db(*arguments: str) -> Ended:
    """Run ``nexgent-db`` with these arguments to its end."""
    command = [sys.executable, "-m", "nexgent_db.cli", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return Ended(child.returncode, said, usage.ru_maxrss * unit / 1e6)
