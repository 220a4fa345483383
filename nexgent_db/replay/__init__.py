"""Replays a wallet's history of swaps and transfers through the trades: ``nexgent-db replay``."""

from nexgent_db.replay.accounts import Account
from nexgent_db.replay.events import BadLine, ReplayError
from nexgent_db.replay.report import OUTCOMES, Outcome, ReplayReport
from nexgent_db.replay.run import replay

__all__ = ["OUTCOMES", "Account", "BadLine", "Outcome", "ReplayError", "ReplayReport", "replay"]
