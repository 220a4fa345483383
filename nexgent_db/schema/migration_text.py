"""Reads the text of a migration, the same on every machine, and computes its checksum.

Pure, and without yoyo: a service that only checks its database's version needs no more.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from nexgent_db.errors import MigrationError

__all__ = ["checksum", "read_sql"]


def read_sql(path: Path) -> str:
    """The text of the file, the same on every machine: no byte order mark, and ``\\n`` at the ends of lines.

    So a checkout on Windows does not count as an edit, and a function's body is the same from every machine. Raises
    MigrationError when the file cannot be read, is not UTF-8 or holds a zero byte.
    """
    try:
        content = path.read_bytes()
    except OSError as e:
        raise MigrationError(f"{path}: cannot be read: {e.strerror}") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = content.count(b"\n", 0, e.start) + 1
        raise MigrationError(f"{path}:{line}: is not UTF-8") from None
    if "\0" in text:
        raise MigrationError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: holds a zero byte")
    return text.replace("\r\n", "\n")


def checksum(text: str) -> str:
    """SHA-256 of a text that ``read_sql`` returned, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()
