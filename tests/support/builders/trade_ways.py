"""The ways through the functions of trades: a wallet that was made ready, an order, and what comes of it.

One list for the tests that measure which branches are reached, and for those that end the backend on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest

from nexgent_db import Database, errors
from nexgent_db.models import PriceUpdate, RecordedPrices, WalletOrder
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner

OTHER: Final = "TokenBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB2"
PAST: Final = datetime(2020, 1, 1, tzinfo=UTC)

KINDS: Final = (
    "deposit",
    "withdraw",
    "burn",
    "swap",
    "buy",
    "dca_buy",
    "take_profit",
    "sell",
    "write_off",
    "reset_wallet",
)
"""The kinds of trades: methods of ``db.trades``, and the ways of these names make one of each."""

Sql = psycopg.Connection[Any]
Holds = Callable[[Any], object]


@dataclass(frozen=True)
class Way:
    """A wallet that was made ready, what sends the order, the first time and again, and what must come of it."""

    owner: Owner
    db: Database
    send_by: Callable[[Database], object]
    refused: type[errors.NexgentError] | None = None
    match: str | None = None
    holds: Holds = bool

    def send(self, db: Database | None = None) -> object:
        """Send the order, over another connection if one is given."""
        return self.send_by(db or self.db)

    def go(self) -> None:
        """Send the order. Raises AssertionError when something else comes of it."""
        if self.refused is None:
            assert self.holds(self.send())
            return
        with pytest.raises(self.refused, match=self.match) as refusal:
            self.send()
        assert type(refusal.value) is self.refused


Make = Callable[[Database, Sql], Way]


def bought(db: Database) -> Owner:
    """An owner of 100 tokens, bought for 10 SOL."""
    owner = funded_owner(db)
    db.trades.buy(owner.buy("10", "100"))
    return owner


def live(db: Database) -> Owner:
    """An owner of a live wallet."""
    return new_owner(db, "live")


def order(
    ready: Callable[[Database], Owner],
    made: Callable[[Owner], WalletOrder],
    kind: str,
    refused: type[errors.NexgentError] | None = None,
    match: str | None = None,
    holds: Holds = bool,
) -> Make:
    """One order of a new wallet."""

    def make(db: Database, _: Sql) -> Way:
        owner = ready(db)
        one = made(owner)
        return Way(owner, db, lambda by: getattr(by.trades, kind)(one), refused, match, holds)

    return make


def repeated(ready: Callable[[Database], Owner], made: Callable[[Owner], WalletOrder], kind: str, part: str) -> Make:
    """An order that was sent before: the same ``part`` of the first result comes again."""

    def make(db: Database, _: Sql) -> Way:
        owner = ready(db)
        one = made(owner)
        first = getattr(getattr(db.trades, kind)(one), part)
        assert first
        return Way(
            owner,
            db,
            lambda by: getattr(by.trades, kind)(one),
            holds=lambda result: result.duplicate and getattr(result, part) == first,
        )

    return make


# --- Ways of more than one step -----------------------------------------------------------------------


def sale_with_a_signal(db: Database, sql: Sql) -> Way:
    owner, signal_id = funded_owner(db), new_signal(sql)
    db.trades.buy(owner.buy("10", "100", signal_id=signal_id))
    one = owner.sell("100", "8", signal_id=signal_id)
    return Way(owner, db, lambda by: by.trades.sell(one), holds=lambda sold: sold.transaction.signal_id == signal_id)


def sale_with_a_signal_of_its_own(db: Database, sql: Sql) -> Way:
    owner, signal_id = bought(db), new_signal(sql)
    one = owner.sell("100", "8", signal_id=signal_id)
    return Way(owner, db, lambda by: by.trades.sell(one), holds=lambda sold: sold.transaction.signal_id == signal_id)


def sale_up_to_dust_among_other_tokens(db: Database, _: Sql) -> Way:
    owner = bought(db)
    db.trades.deposit(owner.deposit("5", TOKEN))
    one = owner.sell("100", "8", up_to_dust=True)
    return Way(owner, db, lambda by: by.trades.sell(one), holds=lambda sold: sold.transaction.settled_dust is None)


def batch(db: Database, _: Sql) -> Way:
    owner = funded_owner(db)
    orders = [owner.buy("10", "100"), owner.withdraw("1000"), owner.sell("100", "8")]
    return Way(owner, db, lambda by: by.trades.execute_many(orders), holds=lambda results: len(results) == 3)


def order_with_the_id_of_another(db: Database, _: Sql) -> Way:
    owner = new_owner(db)
    first = owner.deposit("5")
    db.trades.deposit(first)
    one = owner.deposit("6", request_id=first.request_id)
    return Way(owner, db, lambda by: by.trades.deposit(one), errors.IdempotencyConflict, "another order")


def order_with_the_id_of_an_adopted_transaction(db: Database, sql: Sql) -> Way:
    owner = new_owner(db)
    one = owner.deposit("5")
    adopted_transaction(sql, owner, one.trade_id, input_amount=Decimal("1e-18"))
    sql.execute(
        "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
        " VALUES (%s, %s, %s, 'B', 1e-18)",
        [owner.agent_id, owner.wallet_address, OTHER],
    )
    return Way(owner, db, lambda by: by.trades.deposit(one), errors.IdempotencyConflict, str(one.trade_id))


def same_hash_twice(db: Database, _: Sql) -> Way:
    owner = new_owner(db)
    db.trades.deposit(owner.deposit("5", transaction_hash="h"))
    one = owner.deposit("5", transaction_hash="h", request_id=uuid4())
    return Way(owner, db, lambda by: by.trades.deposit(one), errors.IdempotencyConflict, "same hash")


def transaction_discarded_by_trigger(db: Database, sql: Sql) -> Way:
    owner = new_owner(db)
    one = owner.deposit("5")
    discarding(sql, "agent_transactions", owner)
    return Way(owner, db, lambda by: by.trades.deposit(one), errors.ForeignKeyViolation, "discarded transaction")


def balance_discarded_by_trigger(db: Database, sql: Sql) -> Way:
    owner = new_owner(db)
    one = owner.deposit("5")
    discarding(sql, "agent_balances", owner)
    return Way(owner, db, lambda by: by.trades.deposit(one), errors.TransactionConflict)


def write_off_of_nothing(db: Database, _: Sql) -> Way:
    owner = bought(db)
    db.trades.burn(owner.burn("100", TOKEN))
    one = owner.write_off()
    return Way(owner, db, lambda by: by.trades.write_off(one), errors.InsufficientBalance)


def recorded_prices(db: Database, _: Sql) -> Way:
    owner, update = price(db, "0.2")
    return Way(owner, db, lambda by: by.positions.record_prices([update]), holds=lambda recorded: recorded.changed)


def prices_recorded_again(db: Database, _: Sql) -> Way:
    owner, update = price(db, "0.2")
    db.positions.record_prices([update])
    return Way(
        owner, db, lambda by: by.positions.record_prices([update]), holds=lambda again: again == RecordedPrices()
    )


def stop_loss_above_price(db: Database, _: Sql) -> Way:
    owner, update = price(db, "0.05")
    return Way(owner, db, lambda by: by.positions.record_prices([update]), errors.InvalidInput)


def price(db: Database, sol: str) -> tuple[Owner, PriceUpdate]:
    """An owner of a position, and a price of it."""
    owner = funded_owner(db)
    position = db.trades.buy(owner.buy("10", "100")).position
    assert position is not None
    return owner, PriceUpdate(position_id=position.id, price=Decimal(sol), stop_loss_percentage=Decimal("-10"))


# --- All of them --------------------------------------------------------------------------------------

WAYS: Final[Mapping[str, Make]] = {
    "deposit": order(new_owner, lambda o: o.deposit("5", transaction_hash="h"), "deposit"),
    "withdraw": order(funded_owner, lambda o: o.withdraw("5"), "withdraw"),
    "burn": order(bought, lambda o: o.burn("5", TOKEN), "burn"),
    "swap": order(bought, lambda o: o.swap("5", TOKEN, "7", OTHER, network_fee_sol=Decimal("0.01")), "swap"),
    "buy": order(funded_owner, lambda o: o.buy("10", "100", protocol_fee_sol="0.1"), "buy"),
    "dca_buy": order(bought, lambda o: o.dca_buy("10", "50"), "dca_buy"),
    "take_profit": order(bought, lambda o: o.take_profit("50", "8", moon_bag_amount="10"), "take_profit"),
    "sell": order(bought, lambda o: o.sell("100", "8"), "sell"),
    "write_off": order(bought, lambda o: o.write_off(), "write_off"),
    "reset_wallet": order(bought, lambda o: o.reset("5"), "reset_wallet"),
    "execute_many": batch,
    # Sent before
    "repeated_deposit": repeated(new_owner, lambda o: o.deposit("5"), "deposit", "transaction"),
    "repeated_purchase": repeated(funded_owner, lambda o: o.buy("10", "100"), "buy", "position"),
    "repeated_dca_buy": repeated(bought, lambda o: o.dca_buy("10", "50"), "dca_buy", "position"),
    "repeated_sale": repeated(bought, lambda o: o.sell("100", "8"), "sell", "swap"),
    "repeated_write_off": repeated(bought, lambda o: o.write_off(), "write_off", "swap"),
    "repeated_reset": repeated(bought, lambda o: o.reset("5"), "reset_wallet", "transactions"),
    # Refused, whatever the kind
    "order_with_the_id_of_another": order_with_the_id_of_another,
    "order_with_the_id_of_an_adopted_transaction": order_with_the_id_of_an_adopted_transaction,
    "same_hash_twice": same_hash_twice,
    "wallet_of_nobody": order(
        new_owner,
        lambda o: o.deposit("5").model_copy(update={"wallet_address": "W0"}),
        "deposit",
        errors.WalletNotFound,
    ),
    "expired_order": order(new_owner, lambda o: o.deposit("5", expires_at=PAST), "deposit", errors.OrderExpired),
    "withdrawal_beyond_balance": order(new_owner, lambda o: o.withdraw("5"), "withdraw", errors.InsufficientBalance),
    "transaction_discarded_by_trigger": transaction_discarded_by_trigger,
    "balance_discarded_by_trigger": balance_discarded_by_trigger,
    # Purchases
    "second_purchase": order(bought, lambda o: o.buy("10", "100"), "buy", errors.PositionExists),
    "purchase_beyond_balance": order(new_owner, lambda o: o.buy("10", "100"), "buy", errors.InsufficientBalance),
    "dca_buy_of_no_position": order(funded_owner, lambda o: o.dca_buy("10", "50"), "dca_buy", errors.PositionNotFound),
    "dca_buy_of_another_count": order(
        bought, lambda o: o.dca_buy("10", "50", expected_dca_count=3), "dca_buy", errors.StalePosition
    ),
    "dca_buy_beyond_balance": order(bought, lambda o: o.dca_buy("1000", "50"), "dca_buy", errors.InsufficientBalance),
    # Sales
    "sale_with_a_signal": sale_with_a_signal,
    "sale_with_a_signal_of_its_own": sale_with_a_signal_of_its_own,
    "sale_of_no_position": order(funded_owner, lambda o: o.sell("100", "8"), "sell", errors.PositionNotFound),
    "sale_of_another_count": order(
        bought, lambda o: o.take_profit("50", "8", expected_levels_hit=3), "take_profit", errors.StalePosition
    ),
    "oversell": order(bought, lambda o: o.sell("101", "8"), "sell", errors.Oversell),
    "sale_of_a_part": order(bought, lambda o: o.sell("50", "8"), "sell", errors.NotAFullSale),
    "take_profit_without_moon_bag": order(bought, lambda o: o.take_profit("50", "8"), "take_profit"),
    "too_large_moon_bag": order(
        bought, lambda o: o.take_profit("50", "8", moon_bag_amount="60"), "take_profit", errors.MoonBagTooLarge
    ),
    "moon_bag_cut_to_the_rest": order(
        bought, lambda o: o.take_profit("50", "8", moon_bag_amount="50.0000001"), "take_profit"
    ),
    "sale_before_purchase": order(
        bought, lambda o: o.sell("100", "8", transaction_time=PAST), "sell", errors.SaleBeforePurchase
    ),
    "sale_with_a_fee_beyond_balance": order(
        bought, lambda o: o.sell("100", "8", network_fee_sol="1000"), "sell", errors.InsufficientBalance
    ),
    "sale_up_to_dust": order(
        bought,
        lambda o: o.sell("100.000000001", "8", up_to_dust=True),
        "sell",
        holds=lambda sold: sold.transaction.settled_dust is not None,
    ),
    "sale_up_to_dust_among_other_tokens": sale_up_to_dust_among_other_tokens,
    "take_profit_up_to_dust": order(
        bought,
        lambda o: o.take_profit("99.999999995", "8", up_to_dust=True),
        "take_profit",
        holds=lambda taken: taken.position is not None,
    ),
    # Write-offs
    "write_off_of_no_position": order(funded_owner, lambda o: o.write_off(), "write_off", errors.PositionNotFound),
    "write_off_before_purchase": order(
        bought, lambda o: o.write_off(transaction_time=PAST), "write_off", errors.SaleBeforePurchase
    ),
    "write_off_of_nothing": write_off_of_nothing,
    "write_off_with_a_fee_beyond_balance": order(
        bought, lambda o: o.write_off(network_fee_sol="1000"), "write_off", errors.InsufficientBalance
    ),
    # Resets and prices
    "reset_without_deposit": order(bought, lambda o: o.reset(), "reset_wallet"),
    "reset_of_a_live_wallet": order(live, lambda o: o.reset(), "reset_wallet", errors.WalletNotSimulated),
    "recorded_prices": recorded_prices,
    "prices_recorded_again": prices_recorded_again,
    "stop_loss_above_price": stop_loss_above_price,
}
"""The ways through the functions, by their names."""


# --- What they need -----------------------------------------------------------------------------------


def new_signal(sql: Sql) -> int:
    """The id of a new signal of nobody's."""
    row = sql.execute(
        "INSERT INTO trading_signals (token_address, symbol, signal_type, activation_reason, signal_strength)"
        " VALUES (%s, 'A', 'a', 'a', 1) RETURNING id",
        [TOKEN],
    ).fetchone()
    assert row is not None
    return int(row[0])


def adopted_transaction(sql: Sql, owner: Owner, id_: object, **more: object) -> None:
    """An entry of the ledger without a request."""
    columns = {
        "id": id_,
        "agent_id": owner.agent_id,
        "wallet_address": owner.wallet_address,
        "transaction_type": "DEPOSIT",
        "transaction_value_usd": 0,
        "transaction_time": PAST,
        "input_mint": OTHER,
        "input_symbol": "B",
        "input_amount": 1,
    } | more
    sql.execute(
        f"INSERT INTO agent_transactions ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})".encode(),
        list(columns.values()),
    )


def discarding(sql: Sql, table: str, owner: Owner) -> None:
    """Let a trigger discard what is inserted for the wallet."""
    name = f"discard_{uuid4().hex}"
    sql.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'".encode())
    sql.execute(
        f"CREATE TRIGGER {name} BEFORE INSERT ON {table} FOR EACH ROW"
        f" WHEN (NEW.wallet_address = '{owner.wallet_address}') EXECUTE FUNCTION {name}()".encode()
    )
