"""Replays a wallet's history of swaps and transfers through the trades: ``nexgent-db replay``."""

from nexgent_db.replay.accounts import Account
from nexgent_db.replay.events import BadLine, ReplayError
from nexgent_db.replay.run import OUTCOMES, Outcome, ReplayReport, replay

__all__ = ["OUTCOMES", "Account", "BadLine", "Outcome", "ReplayError", "ReplayReport", "replay"]
