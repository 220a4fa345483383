"""Settings for sessions that a pooler shares between clients.

In transaction mode, a pooler such as PgBouncer gives each transaction any session of the server. What one transaction
sets for its session would reach transactions of other clients, and miss the next one of this client. So nothing is set
for a session there: every transaction sets what it needs for itself, in the round trip of its first statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from psycopg import sql

from nexgent_db._text import quoted
from nexgent_db.errors import ConfigurationError

__all__ = [
    "POOLERS",
    "Pooler",
    "TransactionSettings",
    "check_pooler",
    "needs_session",
    "refuses_options",
    "settings_hold",
    "startup_settings",
    "with_limits",
]

Pooler = Literal["transaction", "session"]
"""The mode of a pooler before the server."""
POOLERS: Final[tuple[Pooler, ...]] = ("transaction", "session")

SET_LOCAL: Final = (
    "SELECT count(set_config(name, value, true)) FROM unnest($1::text[], $2::text[]) AS wanted (name, value)"
    " WHERE current_setting(name, true) IS DISTINCT FROM value"
)
"""Sets what the session has otherwise, in the order of the arrays, until the end of the transaction."""
ISOLATION: Final = "transaction_isolation"
"""The one setting that SET_LOCAL only verifies: another value is an error, since the transaction has begun."""
_SET_LOCAL_LITERALLY: Final = SET_LOCAL.replace("$1", "{}").replace("$2", "{}")

_OPTION: Final = re.compile(r"(?:-c|--)([A-Za-z_][A-Za-z0-9_.-]*)=(.*)", re.DOTALL)
_WORD: Final = re.compile(r"(?:\\.|[^\\ \t\n\v\f\r])+", re.DOTALL)
_REFUSED: Final = re.compile("unsupported startup parameter")  # PgBouncer's words; it speaks English only
_TIME: Final = re.compile(r"\d+(?:\.\d+)?\s*(?:us|ms|s|min|h|d)?")
_LIMITS: Final = frozenset({"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"})


def check_pooler(text: str) -> Pooler:
    """The mode of this name. Raises ConfigurationError."""
    for mode in POOLERS:
        if text == mode:
            return mode
    raise ConfigurationError(
        f"pooler is {quoted(text)}: it should be {' or '.join(POOLERS)}; leave it out for PostgreSQL"
    )


def refuses_options(message: str) -> bool:
    """Is this the error of a pooler that does not take the start-up parameter ``options``?"""
    return _REFUSED.search(message) is not None


def needs_session(place: str) -> ConfigurationError:
    """The error of a command that has reached a pooler."""
    return ConfigurationError(
        f"a pooler answers {place}, but this command needs a session of its own, for its lock and its settings: set"
        " DIRECT_DATABASE_URL to the address of PostgreSQL itself. If each client of the pooler keeps its session,"
        " set NEXGENT_DB_POOLER=session"
    )


def startup_settings(options: str) -> dict[str, str]:
    """The settings that libpq's ``options`` ask for, in its order. Raises ConfigurationError for any other option."""
    words = [re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL) for word in _WORD.findall(options)]
    settings: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        option = _OPTION.fullmatch(word + next(rest, "") if word == "-c" else word)
        if option is None:
            raise ConfigurationError(
                "the connection's options have one that sets nothing (they should look like -csearch_path=name)"
            )
        settings[option[1].replace("-", "_").lower()] = option[2]
    return settings


def settings_hold(settings: Mapping[str, str]) -> sql.Composable:
    """A condition: does the session have these limits, this search path and this role?"""
    conditions: list[sql.Composable] = [sql.SQL("true")]
    for name, value in settings.items():
        if name in _LIMITS and _TIME.fullmatch(value):
            interval = value + "ms" if value.replace(".", "").isdigit() else value
            conditions.append(
                sql.SQL("current_setting({})::interval = {}::interval").format(name, sql.Literal(interval))
            )
        elif name in ("search_path", "role"):
            conditions.append(sql.SQL("current_setting({}) = {}").format(name, value))
    return sql.SQL(" AND ").join(conditions)


class TransactionSettings:
    """Settings that hold until the end of one transaction."""

    __slots__ = ("_alone", "_statement", "values")

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values: Final = dict(values)
        self._statement = self._alone = b""

    @property
    def parameters(self) -> list[list[str]]:
        """The parameters of SET_LOCAL."""
        return [list(self.values), list(self.values.values())]

    @property
    def statement(self) -> bytes:
        """SET_LOCAL with its parameters, to be sent with a BEGIN, which chooses the isolation itself."""
        if not self._statement:
            self._statement = _literally({name: value for name, value in self.values.items() if name != ISOLATION})
        return self._statement

    @property
    def statement_alone(self) -> bytes:
        """The same without a BEGIN."""
        if not self._alone:
            self._alone = _literally(self.values)
        return self._alone


def _literally(values: Mapping[str, str]) -> bytes:
    return sql.SQL(_SET_LOCAL_LITERALLY).format(list(values), list(values.values())).as_bytes()


def with_limits(
    settings: TransactionSettings | None, statement_timeout_s: float | None, lock_timeout_s: float | None
) -> TransactionSettings | None:
    """The settings of a transaction with limits of its own."""
    timeouts = {"statement_timeout": statement_timeout_s, "lock_timeout": lock_timeout_s}
    limits = {name: str(max(1, round(seconds * 1000))) for name, seconds in timeouts.items() if seconds is not None}
    if not limits:
        return settings
    return TransactionSettings({**limits, **({} if settings is None else settings.values)})
