"""Explicit SQL, typed Python: the data layer of the Nexgent trading engine."""

from nexgent_db._version import __version__ as __version__
from nexgent_db.aio.database import AsyncDatabase, AsyncTransaction
from nexgent_db.errors import NexgentError
from nexgent_db.keyring import WalletKeyring
from nexgent_db.models.health import Health
from nexgent_db.queries.binding import NOT_GIVEN, NotGiven
from nexgent_db.settings import Settings
from nexgent_db.sync.database import Database, Transaction

__all__ = [
    "NOT_GIVEN",
    "AsyncDatabase",
    "AsyncTransaction",
    "Database",
    "Health",
    "NexgentError",
    "NotGiven",
    "Settings",
    "Transaction",
    "WalletKeyring",
]
