# Generated from tests/integration/aio/test_json_documents.py by `make sync`: do not edit.
"""Documents that are stored and given back: whole numbers keep every digit; fractions are floats, or exact as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import InvalidInput
from tests.integration.sync.factories import funded_owner

WHOLE = 123456789012345678901234567
FRACTION = "0.123456789012345678901234567"


def test_whole_numbers_of_27_digits_stay(db: Database) -> None:
    owner = funded_owner(db)
    document = {"lamports": WHOLE, "text": FRACTION, "ratio": 0.1, "nested": [{"n": -WHOLE}]}
    result = db.trades.buy(owner.buy("1", "1", "token", swap_payload=document, routes=[WHOLE]))
    found = db.transactions.find_by_id(result.transaction.id)
    assert found is not None
    for transaction in (result.transaction, found):
        assert transaction.swap_payload == document
        assert transaction.routes == [WHOLE]


def test_fraction_of_27_digits_is_a_float_and_exact_as_text(
    db: Database, database_url: str, altering_url: Callable[[str], str]
) -> None:
    """PostgreSQL keeps every digit that any client wrote; JSON has no other fractions than floats in Python."""
    owner = funded_owner(db)
    made = db.trades.buy(owner.buy("1", "1", "token", swap_payload={"n": 1}))
    with psycopg.connect(altering_url(database_url), autocommit=True) as connection:
        connection.execute("ALTER TABLE agent_transactions DISABLE TRIGGER USER")
        connection.execute(
            "UPDATE agent_transactions SET swap_payload = %s::jsonb WHERE id = %s",
            [f'{{"n": {FRACTION}}}', made.transaction.id],
        )
        connection.execute("ALTER TABLE agent_transactions ENABLE TRIGGER USER")
        row = connection.execute(
            "SELECT swap_payload::text FROM agent_transactions WHERE id = %s", [made.transaction.id]
        ).fetchone()
    found = db.transactions.find_by_id(made.transaction.id)
    assert found is not None
    assert found.swap_payload == {"n": float(FRACTION)}
    assert row is not None
    assert json.loads(row[0], parse_float=Decimal) == {"n": Decimal(FRACTION)}


def test_decimal_in_document_is_refused(db: Database) -> None:
    owner = funded_owner(db)
    with pytest.raises(InvalidInput, match="swap_payload: is no JSON"):
        owner.buy("1", "1", "token", swap_payload={"n": Decimal(FRACTION)})
