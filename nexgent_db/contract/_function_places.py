"""Finds a function's text in the migrations, so that a finding names a file and line that can be opened."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Final

from nexgent_db.errors import ConfigurationError
from nexgent_db.resources import data_dir

__all__ = ["Places"]

_ROLLBACK: Final = ".rollback.sql"


class Places:
    """The migrations of this package, the newest first."""

    @cached_property
    def _texts(self) -> list[tuple[Path, str]]:
        try:
            folder = data_dir("migrations")
        except ConfigurationError:
            return []
        paths = sorted((path for path in folder.glob("*.sql") if not path.name.endswith(_ROLLBACK)), reverse=True)
        return [(path, path.read_text(encoding="utf-8-sig")) for path in paths]

    def find(self, name: str, signature: str, body: str, offset: int | None) -> tuple[Path, int, int]:
        """File, line and column of an offset in the body, or of the function's CREATE (None).

        The file is the newest migration that creates the function with this body. For a function of no migration it is
        the signature, and lines count in the body.
        """
        created = re.compile(rf'\bFUNCTION\s+(?:\w+\.)?"?{re.escape(name)}"?\s*\(')
        for path, text in self._texts:
            place = text.find(body) if body.strip() else -1
            heads = [head.start() for head in created.finditer(text) if place < 0 or head.start() < place]
            if not heads or (place < 0 and body.strip()):
                continue
            at = heads[-1] if offset is None else place + offset
            return path, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        at = offset or 0
        return Path(signature), body.count("\n", 0, at) + 1, at - body.rfind("\n", 0, at)
