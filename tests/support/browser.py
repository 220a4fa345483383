"""Headless Chromium: the document and console output of a page."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


class Browser:
    """Loads pages with a profile of its own below ``place``."""

    def __init__(self, program: str, place: Path) -> None:
        self._command = [
            program,
            *("--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-quic"),
            *("--disable-component-update", "--disable-sync", f"--user-data-dir={place / 'profile'}"),
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ]

    def loaded(self, url: str, *, quiet: bool = True) -> str:
        """The document after its script has run; a page that should be ``quiet`` writes nothing to the console."""
        done = subprocess.run(
            [*self._command, "--enable-logging=stderr", "--dump-dom", url],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        assert ("CONSOLE" not in done.stderr) == quiet, done.stderr
        return done.stdout


def chromium() -> str | None:
    """Where it is installed; None when it is not."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
