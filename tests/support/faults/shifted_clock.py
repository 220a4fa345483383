"""Shifts the wall clock of single processes while they run, by a library before libc (Linux, with a C compiler)."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).with_suffix(".c")


def why_no_shifted_clock() -> str | None:
    """The reason why this system can shift none; None when it can."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        return "the clock of a process is shifted with LD_PRELOAD, which needs Linux and a C compiler"
    return None


class ShiftedClock:
    """The clock of the processes that start with ``environment``. ``directory`` must be one that they can enter."""

    def __init__(self, directory: Path, name: str) -> None:
        library = directory / "shifted_clock.so"
        if not library.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, _SOURCE], check=True)
        self._file = directory / f"{name}.clock"
        if not self._file.exists():  # else processes have it in their memory: it must not be cut
            self._file.write_bytes(struct.pack("=q", 0))
            self._file.chmod(0o644)
        self.environment = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._file)}

    @property
    def run_by(self) -> list[str]:
        """The same as the beginning of a command."""
        return ["env", *(f"{name}={value}" for name, value in self.environment.items())]

    def shift(self, seconds: int) -> None:
        """From now on it goes this much before (or behind) the machine's."""
        descriptor = os.open(self._file, os.O_WRONLY)
        try:
            os.pwrite(descriptor, struct.pack("=q", seconds), 0)
        finally:
            os.close(descriptor)
