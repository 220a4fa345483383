"""Errors: one root class, one line, no secrets, and equal after pickling."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import DiagnosticField

from nexgent_db import errors
from nexgent_db.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    DiskFull,
    Fault,
    InsufficientBalance,
    InvalidInput,
    NexgentError,
    PermissionDenied,
    ReadOnlyBlock,
    ServerDamaged,
    ServerNotReady,
    ServerOutOfResources,
    ServerReadOnly,
    StalePosition,
    TooManyConnections,
    TransactionAborted,
    TransactionConflict,
    UniqueViolation,
    translate,
)
from nexgent_db.errors import trades as refusals
from nexgent_db.models import DepositOrder, SellOrder
from nexgent_db.models.trades import TradeOutcome, WalletOrder
from nexgent_db.queries.trade_results import trade_result

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
    "reason": "another process holds it",
    "balance": Decimal("1E+3"),
    "required": Decimal("2.500000000000000000"),
    "remaining": Decimal("0E-18"),
    "requested": Decimal(7),
    "purchase_time": "2026-01-02",
    "sale_time": "2026-01-01",
    "counter": "dca_count",
    "expected": 1,
    "actual": 2,
    "faults": [Fault("stopLoss.mode", "is wrong", "str"), Fault("", "is no object", None)],
    "email": "a@example.org",
    "loaded": 2,
    "bound": 10_000,
    "max_bytes": 268_435_456,
    "expires_at": datetime(2026, 1, 1, tzinfo=UTC),
    "now": datetime(2026, 1, 2, tzinfo=UTC),
}


def made(kind: type[NexgentError]) -> NexgentError:
    """One error of the kind."""
    if kind.__init__ in (Exception.__init__, RuntimeError.__init__):
        return kind("it went wrong")
    names = list(inspect.signature(kind).parameters)
    return kind(**{name: ARGUMENTS[name] for name in names})


@pytest.mark.parametrize("kind", KINDS)
def test_error_message_is_one_line_with_its_fields(kind: type[NexgentError]) -> None:
    error = made(kind)
    assert isinstance(error, NexgentError)
    assert str(error)
    assert len(str(error).splitlines()) == 1
    assert "E+" not in str(error)
    assert kind.__doc__


def test_codes_are_snake_case_of_classes_and_differ() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)
    assert {errors.InsufficientBalance.code, errors.NotAFullSale.code, errors.NexgentError.code} == {
        "insufficient_balance",
        "not_a_full_sale",
        "nexgent_error",
    }
    assert errors.SqlFileError.code == "sql_file_error"


@pytest.mark.parametrize("kind", KINDS)
def test_details_are_figures_with_their_types(kind: type[NexgentError]) -> None:
    error = made(kind)
    assert error.details == vars(error)
    for name, value in error.details.items():
        if name in ARGUMENTS and name not in ("faults", "field", "problem"):
            assert value == ARGUMENTS[name]
            assert type(value) is type(ARGUMENTS[name])
    assert json.loads(json.dumps(error.to_json()))["code"] == kind.code


def test_json_of_error_has_every_digit() -> None:
    error = errors.InsufficientBalance("wallet", "token", Decimal("1E-18"), Decimal("12345678901234567890.123456789"))
    assert error.to_json() == {
        "code": "insufficient_balance",
        "message": str(error),
        "details": {
            "wallet_address": "wallet",
            "token_address": "token",
            "balance": "0.000000000000000001",
            "required": "12345678901234567890.123456789",
        },
    }
    refused = errors.InvalidInput("a, b", "two", [Fault("a", "is wrong", "float"), Fault("b", "is missing", None)])
    assert refused.to_json()["details"] == {
        "field": "a, b",
        "problem": "two",
        "faults": [
            {"field": "a", "message": "is wrong", "value_class": "float"},
            {"field": "b", "message": "is missing", "value_class": None},
        ],
    }
    assert errors.InvalidInput("a", "is wrong").faults == (Fault("a", "is wrong", None),)
    expired = errors.OrderExpired(UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    assert expired.to_json()["details"] == {
        "request_id": "00000000-0000-0000-0000-000000000001",
        "expires_at": "2026-01-01T00:00:00+00:00",
        "now": "2026-01-02T00:00:00+00:00",
    }


@pytest.mark.parametrize("kind", KINDS)
def test_http_status_follows_what_caller_may_do(kind: type[NexgentError]) -> None:
    assert kind.http_status in (400, 403, 404, 409, 422, 500, 503)
    if issubclass(kind, errors.TradeRefused):
        assert kind.http_status in (404, 409)
    if issubclass(kind, errors.InvalidInput):
        assert kind.http_status == 422
    if issubclass(kind, errors.DatabaseUnavailable):
        assert kind.http_status == 503


def test_every_refused_trade_has_one_base() -> None:
    kinds = {kind for kind in KINDS if kind in vars(refusals).values() and kind is not NexgentError}
    assert len(kinds) > 10
    assert all(issubclass(kind, errors.TradeRefused) for kind in kinds)


@pytest.mark.parametrize("kind", KINDS)
def test_error_survives_copies_and_pickles(kind: type[NexgentError]) -> None:
    error = made(kind)
    for other in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is kind
        assert (str(other), other.args, vars(other)) == (str(error), error.args, vars(error))


def test_amounts_in_message_have_no_trailing_zeros() -> None:
    error = InsufficientBalance("wallet", "token", Decimal("1E+3"), Decimal("2.500000000000000000"))
    assert str(error) == "wallet wallet holds 1000 of token, 2.5 required"


def outcome_of(outcome: str, details: str) -> TradeOutcome:
    nothing = dict.fromkeys(TradeOutcome.model_fields)
    return TradeOutcome.model_validate({**nothing, "outcome": outcome, "details": details})


def refusal(order: WalletOrder, outcome: str, details: str) -> Any:
    with pytest.raises(NexgentError) as refused:
        trade_result(order, (outcome_of(outcome, details), None))
    return refused.value


def test_amounts_in_rejection_details_are_decimals() -> None:
    order = DepositOrder(
        agent_id=UUID(int=1), wallet_address="w", token_address="t", token_symbol="T", amount=Decimal(1)
    )
    error = refusal(order, "insufficient_balance", '{"token_address": "t", "balance": 0, "required": 5.50}')
    assert isinstance(error, InsufficientBalance)
    assert [(type(figure), str(figure)) for figure in (error.balance, error.required)] == [
        (Decimal, "0"),
        (Decimal, "5.50"),
    ]


def test_counts_in_rejection_details_are_integers() -> None:
    order = SellOrder(
        agent_id=UUID(int=1),
        wallet_address="w",
        token_address="t",
        token_symbol="T",
        sol_amount=Decimal(1),
        token_amount=Decimal(1),
    )
    error = refusal(order, "stale_position", '{"counter": "dca_count", "expected": 1, "actual": 2}')
    assert isinstance(error, StalePosition)
    assert (type(error.expected), error.expected, error.actual) == (int, 1, 2)


# --- Driver errors without an SQLSTATE ----------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
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
        (psycopg.errors.PipelineAborted("pipeline aborted"), TransactionAborted),
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
def test_driver_errors_are_distinguished(error: psycopg.Error, kind: type[NexgentError]) -> None:
    translated = translate(error, "things.find")
    assert type(translated) is kind
    assert len(str(translated).splitlines()) == 1


PLACE = 'connection to server at "db.example.org" (10.0.0.1), port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("FATAL:  sorry, too many clients already", TooManyConnections),
        (
            "FATAL:  remaining connection slots are reserved for non-replication superuser connections",
            TooManyConnections,
        ),
        ('FATAL:  too many connections for role "u"', TooManyConnections),
        ('FATAL:  too many connections for database "d"', TooManyConnections),
        ("FATAL:  no more connections allowed (max_client_conn)", TooManyConnections),
        ("FATAL:  the database system is starting up", ServerNotReady),
        ("FATAL:  the database system is shutting down", ServerNotReady),
        ("FATAL:  the database system is in recovery mode", ServerNotReady),
        (
            "FATAL:  the database system is not yet accepting connections\nDETAIL:  Consistent …",
            ServerNotReady,
        ),
        ("session is read-only", ServerNotReady),
        ("server is in hot standby mode", ServerNotReady),
        # Names of the caller's are no states of the server.
        ('FATAL:  database "the database system is starting up" does not exist', DatabaseUnavailable),
        ('FATAL:  role "sorry, too many clients already" does not exist', AuthenticationFailed),
        # In the server's language: unavailable, and nothing more than that.
        ("FATAL:  tut mir leid, schon zu viele Verbindungen", DatabaseUnavailable),
        ("FATAL:  das Datenbanksystem startet", DatabaseUnavailable),
        ("ВАЖНО:  извините, уже слишком много клиентов", DatabaseUnavailable),
        ("致命的错误:  数据库系统启动中", DatabaseUnavailable),
        ('FATAL:  ロール"u"は存在しません', DatabaseUnavailable),
    ],
)
@pytest.mark.parametrize("prefix", ["connection failed: ", "connection is bad: "])
def test_refused_connection_is_server_state_or_unavailable(prefix: str, said: str, kind: type[NexgentError]) -> None:
    translated = translate(psycopg.OperationalError(prefix + PLACE + said))
    assert type(translated) is kind
    assert len(str(translated).splitlines()) == 1
    assert "running?" not in str(translated), "the server was reached"


def test_recovering_host_among_several_decides_error() -> None:
    refused = f'connection failed: {PLACE}FATAL:  password authentication failed for user "u"'
    starting = f"connection failed: {PLACE}FATAL:  the database system is starting up"
    said = f"{refused}\nMultiple connection attempts failed. All failures were:\n- host: 'a': {starting}\n- host: 'b': "
    assert type(translate(psycopg.OperationalError(said + refused))) is ServerNotReady


def test_libpq_in_another_language_that_did_not_connect_is_unavailable() -> None:
    with pytest.raises(psycopg.OperationalError) as refused:
        psycopg.connect("host=127.0.0.1 port=1 connect_timeout=2")
    said = "Verbindung zum Server auf »127.0.0.1«, Port 1 fehlgeschlagen: Verbindungsaufbau abgelehnt"
    assert type(translate(psycopg.OperationalError(said, pgconn=refused.value.pgconn))) is DatabaseUnavailable


# --- Server errors as the driver keeps them -----------------------------------------------------


def reported(sqlstate: str, severity: str = "ERROR", *, pooler: bool = False, source: str = "x.c") -> psycopg.Error:
    """The driver's error for a report of these fields. A pooler sends fewer of them; a server translates severities."""
    fields = {
        DiagnosticField.SEVERITY: severity if pooler else {"FATAL": "ВАЖНО", "PANIC": "ПАНИКА"}.get(severity, "ОШИБКА"),
        DiagnosticField.SEVERITY_NONLOCALIZED: None if pooler else severity,
        DiagnosticField.SQLSTATE: sqlstate,
        DiagnosticField.MESSAGE_PRIMARY: "it went wrong",
        DiagnosticField.SOURCE_FILE: None if pooler else source,
    }
    info = {int(field): None if value is None else value.encode() for field, value in fields.items()}
    return psycopg.OperationalError("it went wrong", info=info)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (reported("25006"), ServerReadOnly),
        (reported("53000"), ServerOutOfResources),
        (reported("53100"), DiskFull),
        (reported("53100", "FATAL"), DiskFull),
        (reported("53100", "PANIC"), ConnectionLost),
        (reported("53200"), ServerOutOfResources),
        (reported("53300", "FATAL"), TooManyConnections),
        (reported("53400"), ServerOutOfResources),
        (reported("57P03", "FATAL"), ServerNotReady),
        (reported("57P01", "FATAL"), ConnectionLost),
        (reported("57P02", "FATAL"), ConnectionLost),
        (reported("57P05", "FATAL"), ConnectionLost),
        (reported("58030"), ServerDamaged),
        (reported("58030", "PANIC"), ConnectionLost),
        (reported("XX001"), ServerDamaged),
        (reported("XX002"), ServerDamaged),
        (reported("42501", source="aclchk.c"), PermissionDenied),
        (reported("42501", source="md.c"), ServerDamaged),
        (reported("72000"), TransactionConflict),
        (reported("55000"), DatabaseError),
        (reported("08P01"), DatabaseError),
        (reported("08P01", "FATAL"), ConnectionLost),
        (reported("08P01", "ERROR", pooler=True), ConnectionLost),
        (reported("XX000"), DatabaseError),
        (reported("XX000", "FATAL"), ConnectionLost),
    ],
    ids=lambda value: f"{value.sqlstate}-{value.diag.severity}" if isinstance(value, psycopg.Error) else value.__name__,
)
def test_server_error_maps_to_its_class(error: psycopg.Error, kind: type[NexgentError]) -> None:
    translated = translate(error, "things.find")
    assert type(translated) is kind
    assert isinstance(translated, DatabaseError)
    assert translated.sqlstate == error.sqlstate


def test_read_only_transaction_and_read_only_server_are_distinguished() -> None:
    assert type(translate(reported("25006"), read_only=True)) is ReadOnlyBlock
    assert type(translate(reported("53100"), read_only=True)) is DiskFull


def test_missing_and_refusing_server_have_different_advice() -> None:
    gone = translate(psycopg.OperationalError("connection failed: Connection refused"))
    assert str(gone).endswith("is the server of DATABASE_URL running?")
    full = translate(psycopg.OperationalError('connection failed: FATAL:  database "x" does not exist'))
    assert type(full) is DatabaseUnavailable
    assert "running?" not in str(full)


def test_misuse_and_configuration_are_not_database_errors() -> None:
    for kind in (ConfigurationError, InvalidInput, errors.BlockMisuse, errors.TradeRefused):
        assert not issubclass(kind, DatabaseError)
    assert issubclass(UniqueViolation, DatabaseError)
    assert issubclass(errors.StatementTimeout, errors.StatementCanceled)
