"""Servers with their files in memory: a database is created in 40 ms; on a disk it takes 250 to 1,200 ms."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

_MEMORY: Final = Path("/dev/shm")  # Linux; other systems have their temporary directory
_NEEDED_BYTES: Final = 4 << 30  # a container's own 64 MiB are not enough


@contextmanager
def in_memory() -> Iterator[None]:
    """Makes temporary directories in memory inside the ``with``, if there is enough memory."""
    with pytest.MonkeyPatch.context() as patch:
        if _has_room():
            patch.setattr(tempfile, "tempdir", str(_MEMORY))
        yield


def _has_room() -> bool:
    if not os.access(_MEMORY, os.W_OK | os.X_OK):
        return False
    status = os.statvfs(_MEMORY)
    runs_programs = not status.f_flag & os.ST_NOEXEC  # copies, for an account that cannot reach the originals
    return runs_programs and status.f_bavail * status.f_frsize >= _NEEDED_BYTES
