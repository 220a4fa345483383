"""The suite through a pooler runs every file that can, and says why the others cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

CHECKOUT = Path(__file__).resolve().parents[2]

_SESSIONS = "ends, freezes or counts sessions of PostgreSQL, which a pooler keeps apart from its clients"
WITHOUT_POOLER: Final = {
    "cache_after_commit": _SESSIONS,
    "cache_races": _SESSIONS,
    "connection": _SESSIONS,
    "graceful_end": _SESSIONS,
    "pool": _SESSIONS,
    "pool_outages": _SESSIONS,
    "replicas": "has servers of its own; test_replicas_pooled puts poolers before them",
}


def test_every_file_runs_through_a_pooler_or_says_why_not() -> None:
    files = {path.stem.removeprefix("test_") for path in (CHECKOUT / "tests" / "integration" / "aio").glob("test_*.py")}
    listed = re.search(
        r"^POOLER_TESTS := .*?,.*?,((?:.*\\\n)*.*)\)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE
    )
    assert listed is not None
    pooled = set(listed[1].replace("\\", " ").split())
    assert pooled & WITHOUT_POOLER.keys() == set()
    assert pooled | WITHOUT_POOLER.keys() == files
