"""Outages of PostgreSQL under load, one after the other: which errors do calls raise, how soon, and what leaks?

``python -m tests.chaos --only outages`` prints the table; docs/pages/reference/outages.md has its targets.
"""

from __future__ import annotations

from tests.chaos.outages.run import Options, run_row
from tests.chaos.outages.table import run_all

__all__ = ["Options", "run_all", "run_row"]
