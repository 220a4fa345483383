"""The Lua scripts of ``nexgent_db/lua``, ready to be sent. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Final

from nexgent_db.cache_keys import COMPLETE, FILLING, FILLING_MS, FLOOR, FLOOR_MS, LATEST_MS

_FOLDER: Final = Path(__file__).parent / "lua"
_PLACEHOLDERS: Final = {
    "floor": FLOOR,
    "complete": COMPLETE,
    "filling": FILLING,
    "floor_ms": str(FLOOR_MS),
    "latest_ms": str(LATEST_MS),
    "filling_ms": str(FILLING_MS),
}


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, and the SHA-1 under which a server that was sent it knows it."""

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """``nexgent_db/lua/<name>.lua`` with what all scripts share before it."""
    texts = [(_FOLDER / f"{part}.lua").read_text() for part in ("common", name)]
    text = re.sub(r"<(\w+)>", lambda found: _PLACEHOLDERS[found[1]], "\n".join(texts))
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
