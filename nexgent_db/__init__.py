"""Explicit SQL, typed Python: the data layer of the Nexgent trading engine.

The names below are imported when they are first used: pytest imports this package in every project that has it
installed, and a test run that uses nothing of it should not wait for psycopg, pydantic and redis.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nexgent_db._version import __version__ as __version__
    from nexgent_db.aio.database import AsyncDatabase
    from nexgent_db.aio.reader import AsyncReader
    from nexgent_db.aio.transaction import AsyncTransaction
    from nexgent_db.errors import NexgentError
    from nexgent_db.keyring import WalletKeyring
    from nexgent_db.models.health import Health
    from nexgent_db.queries.values import NOT_GIVEN, NotGiven
    from nexgent_db.settings import Settings
    from nexgent_db.sync.database import Database
    from nexgent_db.sync.reader import Reader
    from nexgent_db.sync.transaction import Transaction
else:
    _MODULES = {
        "AsyncDatabase": "aio.database",
        "AsyncReader": "aio.reader",
        "AsyncTransaction": "aio.transaction",
        "Database": "sync.database",
        "Health": "models.health",
        "NOT_GIVEN": "queries.values",
        "NexgentError": "errors",
        "NotGiven": "queries.values",
        "Reader": "sync.reader",
        "Settings": "settings",
        "Transaction": "sync.transaction",
        "WalletKeyring": "keyring",
        "__version__": "_version",
    }

    def __getattr__(name):
        from importlib import import_module

        if name in ("aio", "errors", "keyring", "models", "observe", "settings", "sync"):
            return import_module(f"{__name__}.{name}")  # as `import nexgent_db` alone has always offered them
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        return value

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "NOT_GIVEN",
    "AsyncDatabase",
    "AsyncReader",
    "AsyncTransaction",
    "Database",
    "Health",
    "NexgentError",
    "NotGiven",
    "Reader",
    "Settings",
    "Transaction",
    "WalletKeyring",
]
