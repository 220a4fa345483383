"""The replay of the real history, as a process of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Final

from nexgent_db.replay import OUTCOMES
from tests.benchmarks.child import nexgent_db
from tests.benchmarks.result import Result

HISTORY: Final = Path(__file__).parents[3] / "shared/data/wallet_history/events.jsonl"
_ROUNDS: Final = 3


def run(new_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Result]:
    """Events a second, the start of the program included; the most memory it had."""
    rates, peaks = [], []
    for _ in range(_ROUNDS):
        with new_database() as url:
            rate, peak = _replay(url)
        rates.append(rate)
        peaks.append(peak)
    yield Result(name="replay", figure=median(rates), unit="events/s", at_least=1000)
    yield Result(name="replay, peak memory", figure=max(peaks), unit="MB", at_most=150)


def _replay(url: str) -> tuple[float, float]:
    started = time.perf_counter()
    ended = nexgent_db("replay", str(HISTORY), "--json", "--database-url", url)
    elapsed = time.perf_counter() - started
    if ended.exit_code:
        raise RuntimeError(f"the replay ended with exit code {ended.exit_code}")
    document = json.loads(ended.said)
    return sum(document[outcome] for outcome in OUTCOMES) / elapsed, ended.memory_mb
