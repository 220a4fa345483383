# Generated from tests/integration/aio/test_sales_up_to_dust.py by `make sync`: do not edit.
"""Sales of what the wallet really holds: dust between position and balance is settled, and the ledger stays exact."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.errors import InsufficientBalance, MoonBagTooLarge, NotAFullSale, Oversell, TradeRefused
from nexgent_db.models import SellOrder
from nexgent_db.queries.trade_results import content_digest
from tests.integration.sync.factories import TOKEN, Owner, balance_of, funded_owner

pytestmark = pytest.mark.usefixtures("consistent_ledger")

DUST = Decimal("0.00000001")
TINY = Decimal("0.000000000000000001")


def bought(db: Database, amount: str, more_in_wallet: Decimal = Decimal(0)) -> Owner:
    """An owner of a position, whose wallet holds more than it, or less."""
    owner = funded_owner(db)
    db.trades.buy(owner.buy("1", amount))
    if more_in_wallet > 0:
        db.trades.deposit(owner.deposit(f"{more_in_wallet:f}", TOKEN))
    elif more_in_wallet < 0:
        db.trades.burn(owner.burn(f"{-more_in_wallet:f}", TOKEN))
    return owner


@pytest.mark.parametrize(
    ("more_in_wallet", "sold", "settled"),
    [
        ("0", "10", None),
        ("-0.000000000000000004", "9.999999999999999996", None),  # what the wallet holds
        ("-0.000000000000000004", "10", "0.000000000000000004"),  # what the position says
        ("0.000000000000000004", "10", "-0.000000000000000004"),
        ("-0.00000001", "10", "0.00000001"),
        ("0.00000001", "10", "-0.00000001"),
        ("0", "10.00000001", "0.00000001"),
        ("0", "9.99999999", "-0.00000001"),
    ],
)
def test_sale_up_to_dust_closes_position_and_empties_balance(
    db: Database, more_in_wallet: str, sold: str, settled: str | None
) -> None:
    owner = bought(db, "10", Decimal(more_in_wallet))
    result = db.trades.sell(owner.sell(sold, "2", up_to_dust=True))
    assert result.position is None
    assert result.swap is not None
    assert result.transaction.settled_dust == (None if settled is None else Decimal(settled))
    assert result.transaction.input_amount == Decimal(sold)
    assert {row.token_address: row.balance for row in result.balances}[TOKEN] == 0
    assert balance_of(db, owner, TOKEN) == 0
    assert db.positions.list_by_agent(owner.agent_id) == []
    assert db.transactions.find_by_id(result.transaction.id) == result.transaction


BILLION = Decimal(10**9)


@pytest.mark.parametrize("off", ["-0.00001", "-0.0000003", "0.0000003", "0.00001"])
def test_dust_grows_with_tokens_bought(db: Database, off: str) -> None:
    owner = bought(db, str(BILLION), Decimal(off))
    result = db.trades.sell(owner.sell(str(BILLION), "2", up_to_dust=True))
    assert result.transaction.settled_dust == -Decimal(off)
    assert balance_of(db, owner, TOKEN) == 0


def test_dust_is_never_more_than_billionth_of_what_is_sold(db: Database) -> None:
    owner = bought(db, str(BILLION))
    db.trades.take_profit(owner.take_profit(str(BILLION - 10), "3"))
    db.trades.burn(owner.burn("0.00000001000000001", TOKEN))  # 1e-14 of what was bought is 1e-5
    with pytest.raises(InsufficientBalance):
        db.trades.sell(owner.sell("10", "2", up_to_dust=True))
    assert balance_of(db, owner, TOKEN) == Decimal("9.99999998999999999")


def test_tokens_beside_position_stay_in_wallet(db: Database) -> None:
    owner = bought(db, "10", Decimal(5))
    result = db.trades.sell(owner.sell("10", "2", up_to_dust=True))
    assert result.transaction.settled_dust is None
    assert balance_of(db, owner, TOKEN) == 5


@pytest.mark.parametrize(
    ("more_in_wallet", "sold", "refusal"),
    [
        (-DUST - TINY, Decimal(10), InsufficientBalance),
        (Decimal(0), 10 + DUST + TINY, Oversell),
        (Decimal(0), 10 - DUST - TINY, NotAFullSale),
    ],
)
def test_difference_beyond_dust_is_refused_with_figures(
    db: Database, more_in_wallet: Decimal, sold: Decimal, refusal: type[TradeRefused]
) -> None:
    owner = bought(db, "10", more_in_wallet)
    before = db.positions.list_by_agent(owner.agent_id)
    with pytest.raises(refusal) as refused:
        db.trades.sell(owner.sell(f"{sold:f}", "2", up_to_dust=True))
    assert f"{sold:f}" in str(refused.value)
    assert db.positions.list_by_agent(owner.agent_id) == before
    assert balance_of(db, owner, TOKEN) == 10 + more_in_wallet


@pytest.mark.parametrize("sold", ["10.000000000000000001", "9.999999999999999999"])
def test_dust_is_refused_unless_asked_for(db: Database, sold: str) -> None:
    owner = bought(db, "10")
    with pytest.raises((Oversell, NotAFullSale)):
        db.trades.sell(owner.sell(sold, "2"))
    assert len(db.positions.list_by_agent(owner.agent_id)) == 1


@pytest.mark.parametrize(
    ("more_in_wallet", "second", "rest"),
    [
        ("0", "5.999999999", None),  # a rest of 1e-9 closes
        ("0", "5.999999998", "0.000000002"),
        ("-0.00000001", "5.99999999", None),  # all that the wallet holds
        ("0", "6.00000001", None),
    ],
)
def test_last_take_profit_up_to_dust_closes_position(
    db: Database, more_in_wallet: str, second: str, rest: str | None
) -> None:
    owner = bought(db, "10", Decimal(more_in_wallet))
    db.trades.take_profit(owner.take_profit("4", "1"))
    result = db.trades.take_profit(owner.take_profit(second, "2", up_to_dust=True))
    if rest is None:
        assert result.swap is not None
        assert result.swap.profit_loss_sol == 2
        assert balance_of(db, owner, TOKEN) == 0
    else:
        assert result.position is not None
        assert result.position.remaining_amount == Decimal(rest)
        assert result.transaction.settled_dust is None


def test_moon_bag_is_cut_to_rest_by_a_millionth(db: Database) -> None:
    owner = bought(db, "10")
    with pytest.raises(MoonBagTooLarge, match=r"6\.0000010001"):
        db.trades.take_profit(owner.take_profit("4", "1", moon_bag_amount="6.0000010001"))
    result = db.trades.take_profit(owner.take_profit("4", "1", moon_bag_amount="6.000001"))
    assert result.position is not None
    assert (result.position.moon_bag_amount, result.position.remaining_amount) == (6, 6)
    assert result.position == db.positions.find_by_id(result.position.id)


def test_repeated_sale_up_to_dust_returns_first_result(db: Database) -> None:
    owner = bought(db, "10", -DUST)
    order = owner.sell("10", "2", up_to_dust=True)
    first = db.trades.sell(order)
    again = db.trades.sell(order)
    assert again == first.model_copy(update={"duplicate": True})


def test_flag_is_part_of_order_content() -> None:
    fields: dict[str, Any] = {
        "agent_id": "00000000-0000-0000-0000-000000000001",
        "wallet_address": "W",
        "token_address": "T",
        "token_symbol": "T",
        "sol_amount": "1",
        "token_amount": "1",
    }
    plain, settling = SellOrder(**fields), SellOrder(**fields, up_to_dust=True)
    assert content_digest(plain) != content_digest(settling)
    assert content_digest(plain) == content_digest(SellOrder(**fields, up_to_dust=False))


def test_table_refuses_more_than_dust(db: Database) -> None:
    owner = bought(db, "10")
    with psycopg.connect(db.settings.conninfo) as psql, pytest.raises(psycopg.errors.CheckViolation):
        psql.execute(
            "INSERT INTO agent_transactions (id, agent_id, wallet_address, transaction_type, transaction_value_usd,"
            " transaction_time, input_mint, input_symbol, input_amount, settled_dust)"
            " VALUES (new_id(), %s, %s, 'BURN', 0, now(), 'T', 'T', 1, 0.000000010000000001)",
            [owner.agent_id, owner.wallet_address],
        )
