"""Outages of PostgreSQL under load, one after the other: which errors do calls raise, how soon, and what leaks?

``python -m tests.chaos --only outages`` prints the table; docs/pages/reference/outages.md has its targets.
"""

from __future__ import annotations

from tests.chaos.amounts import Outages
from tests.chaos.outages.run import Options, run_row
from tests.chaos.outages.table import run_all

__all__ = ["Options", "run", "run_all", "run_row"]


def run(amounts: Outages, seed: int) -> list[str]:
    """The part of the command line: each outage once; what was found is in the table."""
    return [] if run_all(seed) else ["see the table"]
