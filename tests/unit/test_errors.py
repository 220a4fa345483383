"""Errors: one root, one line, no secrets, and the same after a journey between processes."""

from __future__ import annotations

import copy
import inspect
import pickle
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import PoolTimeout, TooManyRequests

from nexgent_db import errors
from nexgent_db.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    InsufficientBalance,
    InvalidInput,
    NexgentError,
    PoolExhausted,
    StalePosition,
    UniqueViolation,
    translate,
)
from nexgent_db.models import DepositOrder, SellOrder
from nexgent_db.models.trades import TradeOutcome, WalletOrder
from nexgent_db.outcomes import trade_result

KINDS: list[type[NexgentError]] = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, NexgentError) and not kind.__name__.startswith("_")
]
ARGUMENTS: dict[str, Any] = {
    "path": "sql/things.sql",
    "line": 3,
    "column": 4,
    "field": "amount",
    "problem": "is wrong",
    "query": "things.find",
    "promised": "one row",
    "found": "none",
    "message": "refused",
    "constraint": "things_pkey",
    "table": "things",
    "wallet_address": "wallet",
    "token_address": "token",
    "agent_id": UUID(int=1),
    "request_id": UUID(int=2),
    "wallet_type": "live",
    "taken_by": "another",
    "resource": "rebalance",
    "reason": "somebody else holds it",
    "balance": Decimal("1E+3"),
    "required": Decimal("2.500000000000000000"),
    "remaining": Decimal("0E-18"),
    "requested": Decimal(7),
    "purchase_time": "2026-01-02",
    "sale_time": "2026-01-01",
    "counter": "dca_count",
    "expected": 1,
    "actual": 2,
    "faults": [("stopLoss.mode", "is wrong"), ("", "is no object")],
    "loaded": 2,
}


def made(kind: type[NexgentError]) -> NexgentError:
    """One error of the kind."""
    if kind.__init__ in (Exception.__init__, RuntimeError.__init__):
        return kind("it went wrong")
    names = list(inspect.signature(kind).parameters)
    return kind(**{name: ARGUMENTS[name] for name in names})


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_says_what_it_carries_on_one_line(kind: type[NexgentError]) -> None:
    error = made(kind)
    assert isinstance(error, NexgentError)
    assert str(error)
    assert len(str(error).splitlines()) == 1
    assert "E+" not in str(error)
    assert kind.__doc__


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_copies_and_pickles(kind: type[NexgentError]) -> None:
    error = made(kind)
    for other in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is kind
        assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))


def test_figures_are_written_out_without_appended_zeros() -> None:
    error = InsufficientBalance("wallet", "token", Decimal("1E+3"), Decimal("2.500000000000000000"))
    assert str(error) == "wallet wallet holds 1000 of token, 2.5 required"


def refusal(order: WalletOrder, outcome: str, figures: str) -> Any:
    with pytest.raises(NexgentError) as refused:
        trade_result(order, TradeOutcome(outcome=outcome, figures=figures, transaction=None, result=None))
    return refused.value


def test_the_figures_of_a_refusal_are_decimals_whole_ones_too() -> None:
    order = DepositOrder(agent_id=UUID(int=1), wallet_address="w", token_address="t", token_symbol="T", amount=1)  # type: ignore[call-arg]
    error = refusal(order, "insufficient_balance", '{"token_address": "t", "balance": 0, "required": 5.50}')
    assert isinstance(error, InsufficientBalance)
    assert [(type(figure), str(figure)) for figure in (error.balance, error.required)] == [
        (Decimal, "0"),
        (Decimal, "5.50"),
    ]


def test_the_counts_of_a_refusal_are_whole_numbers() -> None:
    order = SellOrder(
        agent_id=UUID(int=1), wallet_address="w", token_address="t", token_symbol="T", sol_amount=1, token_amount=1
    )  # type: ignore[call-arg]
    error = refusal(order, "stale_position", '{"counter": "dca_count", "expected": 1, "actual": 2}')
    assert isinstance(error, StalePosition)
    assert (type(error.expected), error.expected, error.actual) == (int, 1, 2)


# --- What the driver reports without an SQLSTATE ------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PoolTimeout("couldn't get a connection after 5.00 sec"), PoolExhausted),
        (TooManyRequests("the pool 'x' has already 100 requests waiting"), PoolExhausted),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), InvalidInput),
        (
            psycopg.OperationalError(
                'connection failed: connection to server at "h" failed: Connection refused\n\tIs the server running?'
            ),
            DatabaseUnavailable,
        ),
        (
            psycopg.OperationalError('connection is bad: connection to server on socket "/x" failed: No such file'),
            DatabaseUnavailable,
        ),
        (psycopg.OperationalError("connection to server was lost"), ConnectionLost),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), DatabaseUnavailable),
        (
            psycopg.OperationalError("failed to resolve host 'h': [Errno -2] Name or service not known"),
            DatabaseUnavailable,
        ),
        (
            psycopg.OperationalError(
                'connection failed: FATAL:  password authentication failed for user "u"\nFATAL:  password'
                ' authentication failed for user "u"'
            ),
            AuthenticationFailed,
        ),
        (psycopg.OperationalError("connection failed: fe_sendauth: no password supplied"), AuthenticationFailed),
        (
            psycopg.OperationalError('connection failed: FATAL:  no pg_hba.conf entry for host "h"'),
            AuthenticationFailed,
        ),
        (psycopg.OperationalError('connection failed: FATAL:  role "u" does not exist'), AuthenticationFailed),
        (psycopg.OperationalError("server closed the connection unexpectedly\n\tThis probably means"), ConnectionLost),
        (psycopg.OperationalError("the connection is lost"), ConnectionLost),
        (psycopg.InterfaceError("the cursor is closed"), DatabaseError),
    ],
)
def test_what_the_driver_says_is_told_apart(error: psycopg.Error, kind: type[NexgentError]) -> None:
    translated = translate(error, "things.find")
    assert type(translated) is kind
    assert len(str(translated).splitlines()) == 1


def test_a_missing_server_and_a_server_that_refuses_are_advised_differently() -> None:
    gone = translate(psycopg.OperationalError("connection failed: Connection refused"))
    assert str(gone).endswith("is the server of DATABASE_URL running?")
    full = translate(psycopg.OperationalError('connection failed: FATAL:  database "x" does not exist'))
    assert type(full) is DatabaseUnavailable
    assert "running?" not in str(full)


def test_misuse_and_configuration_are_no_database_errors() -> None:
    for kind in (ConfigurationError, InvalidInput, errors.BlockMisuse, errors.TradeRefused):
        assert not issubclass(kind, DatabaseError)
    assert issubclass(UniqueViolation, DatabaseError)
    assert issubclass(errors.StatementTimeout, errors.StatementCanceled)
