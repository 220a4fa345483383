# Generated from tests/integration/aio/test_bad_input.py by `make sync`: do not edit.
"""Bad input to repositories: the error names the argument, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import InvalidInput, InvalidTradingConfig
from nexgent_db.models import BalanceSnapshotOrder, SignalOrder
from tests.integration.sync.factories import Owner

NUL = "a\0b"
SURROGATE = "\ud800"
LONG = "x" * 10_000_000

Call = Callable[[Database, Owner], object]


def _written(database_url: str) -> dict[str, Any]:
    """Every table's rows, and the sequence that each write of an agent, wallet, position or balance takes from."""
    tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
    with psycopg.connect(database_url, autocommit=True) as connection:
        names = [name for (name,) in connection.execute(tables)]
        counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"'.encode()).fetchone() for name in names}
        return counts | {"versions": connection.execute("SELECT last_value FROM row_version_seq").fetchone()}


def _signal(**more: Any) -> SignalOrder:
    return SignalOrder(**{"token_address": "T", "signal_type": "BUY", "signal_strength": 1, **more})


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("email", lambda db, owner: db.users.create(NUL)),
        ("email", lambda db, owner: db.users.update(owner.user_id, email=SURROGATE)),
        ("password_hash", lambda db, owner: db.users.create("a@example.org", NUL)),
        ("name", lambda db, owner: db.agents.create(owner.user_id, SURROGATE)),
        ("name", lambda db, owner: db.agents.update(owner.agent_id, name=LONG)),
        ("name", lambda db, owner: db.agents.create(owner.user_id, b"bytes")),
        ("trading_mode", lambda db, owner: db.agents.create(owner.user_id, "a", "paper")),
        ("wallet_type", lambda db, owner: db.wallets.create("W", owner.agent_id, "cold")),
        ("wallet_address", lambda db, owner: db.wallets.create(NUL, owner.agent_id, "live")),
        ("document", lambda db, owner: db.agents.store_config(owner.agent_id, '{"a": "\\u0000"}')),
        ("document", lambda db, owner: db.agents.store_config(owner.agent_id, f'"{LONG}"')),
        ("document", lambda db, owner: db.agents.store_config(owner.agent_id, "{")),
        ("name", lambda db, owner: db.api_keys.create(owner.user_id, NUL)),
        ("scopes", lambda db, owner: db.api_keys.create(owner.user_id, "key", ["read", SURROGATE])),
        ("scopes", lambda db, owner: db.api_keys.create(owner.user_id, "key", 5)),
        ("scopes", lambda db, owner: db.api_keys.create(owner.user_id, "key", ["read"] * 101)),
        ("orders", lambda db, owner: db.signals.create_many_of(owner.user_id, [_signal()] * 10_001)),
        ("orders", lambda db, owner: db.signals.create_many_of(owner.user_id, [_signal(), "signal"])),
        ("orders", lambda db, owner: db.signals.create_many_of(owner.user_id, 5)),
        ("symbols", lambda db, owner: db.signals.create_many(owner.user_id, ["T"], [NUL], ["B"], [None], [1], [None])),
        ("orders", lambda db, owner: db.balance_snapshots.create_many([_signal()])),
        ("order", lambda db, owner: db.balance_snapshots.upsert(_signal())),
        ("filter", lambda db, owner: db.transactions.list_by_agent(owner.agent_id, {"is_dca": True})),
        ("cursor", lambda db, owner: db.transactions.page_by_agent(owner.agent_id, cursor=5)),
        ("cursor", lambda db, owner: db.transactions.page_by_agent(owner.agent_id, cursor=LONG)),
        ("limit", lambda db, owner: db.transactions.page_by_agent(owner.agent_id, limit="5")),
        ("limit", lambda db, owner: db.transactions.page_by_agent(owner.agent_id, limit=10**5000)),
        ("limit", lambda db, owner: db.transactions.list_by_agent(owner.agent_id, limit=10**9)),
        ("status", lambda db, owner: db.signal_executions.finish(uuid4(), "PENDING")),
        ("error", lambda db, owner: db.signal_executions.mark_failed(uuid4(), NUL)),
        ("error", lambda db, owner: db.signal_executions.mark_failed(uuid4(), LONG)),
    ],
)
def test_bad_argument_is_named_and_nothing_is_written(
    db: Database, owner: Owner, database_url: str, field: str, call: Call
) -> None:
    before = _written(database_url)
    with pytest.raises(InvalidInput) as refused:
        call(db, owner)
    assert refused.value.field == field
    assert len(str(refused.value)) < 300
    assert _written(database_url) == before


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("routes", {"routes": [{"label": NUL}]}),
        ("routes", {"routes": {SURROGATE: 1}}),
        ("swap_payload", {"swap_payload": {"a": LONG}}),
        ("swap_payload", {"swap_payload": float("nan")}),
        ("token_symbol", {"token_symbol": NUL}),
        ("transaction_hash", {"transaction_hash": SURROGATE}),
        ("close_reason", {"close_reason": "boredom"}),
    ],
)
def test_unstorable_order_cannot_be_constructed(
    db: Database, owner: Owner, database_url: str, field: str, more: dict[str, Any]
) -> None:
    before = _written(database_url)
    order = owner.sell("1", "1")
    with pytest.raises(InvalidInput) as refused:
        db.trades.sell(type(order)(**{**dict(order), **more}))
    assert refused.value.field == field
    assert len(str(refused.value)) < 300
    assert _written(database_url) == before


@pytest.mark.parametrize(
    ("path", "patch"),
    [
        ("signals.allowedSignalTypes[0]", {"signals": {"allowedSignalTypes": [NUL]}}),
        ("signals.tokenList[0]", {"signals": {"tokenList": [SURROGATE * 40]}}),
        ("signals.allowedSignalTypes[0]", {"signals": {"allowedSignalTypes": [LONG]}}),
    ],
)
def test_unstorable_patch_leaves_configuration_unchanged(
    db: Database, owner: Owner, database_url: str, path: str, patch: dict[str, Any]
) -> None:
    before = _written(database_url)
    with pytest.raises(InvalidTradingConfig) as refused:
        db.agents.update_config(owner.agent_id, patch)
    assert [fault[0] for fault in refused.value.faults] == [path]
    assert len(str(refused.value)) < 300
    assert _written(database_url) == before


def test_storable_values_are_returned_unchanged(db: Database, owner: Owner) -> None:
    db.trades.deposit(owner.deposit("5"))
    payload = {"ünï": ["\\u0000", "🦀", 1.5, None, True], "long": "x" * 1_000_000}
    made = db.trades.buy(owner.buy("1", "1", swap_payload=payload, routes="\\\\u0000"))
    found = db.transactions.find_by_id(made.transaction.id)
    assert found is not None
    assert (found.swap_payload, found.routes) == (payload, "\\\\u0000")


def test_snapshot_input_must_be_its_model(db: Database) -> None:
    assert db.balance_snapshots.create_many([]) == 0
    with pytest.raises(InvalidInput, match=BalanceSnapshotOrder.__name__):
        db.balance_snapshots.create_many([None])  # type: ignore[list-item]
