"""The Lua scripts of ``nexgent_db/cache/lua``, ready to be sent. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Final

from nexgent_db.cache.keys import COMPLETE, FENCE, FENCE_MS, LATEST_MS, LOAD_LEASE, LOAD_LEASE_MS

_FOLDER: Final = Path(__file__).parent / "lua"
_PLACEHOLDERS: Final = {
    "fence": FENCE,
    "complete": COMPLETE,
    "load_lease": LOAD_LEASE,
    "fence_ms": str(FENCE_MS),
    "latest_ms": str(LATEST_MS),
    "load_lease_ms": str(LOAD_LEASE_MS),
}


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text, and the SHA-1 by which a server that has loaded it runs it."""

    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """``nexgent_db/cache/lua/<name>.lua``, with ``common.lua`` before it."""
    texts = [(_FOLDER / f"{part}.lua").read_text() for part in ("common", name)]
    text = re.sub(r"<(\w+)>", lambda match: _PLACEHOLDERS[match[1]], "\n".join(texts))
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())
