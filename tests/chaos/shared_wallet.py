"""A wallet with many callers at once: orders whose fate nobody knows, and the account of what was answered."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from fractions import Fraction
from typing import Final

from nexgent_db import Database, Transaction
from nexgent_db.errors import TradeRefused
from nexgent_db.models import SOL_MINT
from nexgent_db.models.trades import ResetResult, TradeResult, WalletOrder
from tests.chaos.sending import Result
from tests.integration.sync.factories import Owner
from tests.support.oracles.trade_oracle import Intent, Record, effects

TOKENS: Final = ("TokenA", "tokena", "TokenB")
WEIGHTS: Final = {
    "deposit": 80,
    "withdraw": 60,
    "burn": 20,
    "swap": 60,
    "buy": 100,
    "dca_buy": 120,
    "take_profit": 100,
    "sell": 60,
    "write_off": 20,
    "reset_wallet": 1,
}
"""How often each kind is drawn."""


class SharedWallet:
    """Draws orders for any number of threads, and keeps one record of all their answers."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.record = Record(owner.wallet_address, knows_positions=False)
        self.counted: Counter[str] = Counter()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def draw(self, where: Database | Transaction, chance: random.Random) -> tuple[str, WalletOrder, int]:
        """A kind, an order of it, and its number. A full sale reads first what there is to sell."""
        number = next(self._numbers)
        kind, token = chance.choices([*WEIGHTS], [*WEIGHTS.values()])[0], chance.choice(TOKENS)
        sol = f"0.{chance.randint(1, 10**9):09}"
        amount = f"{chance.randint(1, 10**3)}.{chance.randint(0, 10**6 - 1):06}"
        owner = self.owner
        order: WalletOrder
        names = {"token_symbol": str(number)}
        match kind:
            case "deposit" | "withdraw" | "burn":
                order = getattr(owner, kind)(sol if kind != "deposit" else "1")
            case "swap":
                order = owner.swap(sol, SOL_MINT, amount, "Loose")
                names = {"input_symbol": "SOL", "output_symbol": str(number)}
            case "buy" | "dca_buy":
                order = getattr(owner, kind)(sol, amount, token, protocol_fee_sol="0.000005")
            case "take_profit":
                order = owner.take_profit(amount, sol, token)
            case "sell":
                rows = where.positions.list_by_agent(owner.agent_id)
                left = [row.remaining_amount for row in rows if row.token_address == token]
                order = owner.sell(str(left[0] if left else 1), sol, token, network_fee_sol="0.000001")
            case "write_off":
                order = owner.write_off(token)
            case _:
                return kind, owner.reset("20"), number
        return kind, order.model_copy(update=names), number

    def note(self, kind: str, order: WalletOrder, number: int, result: Result) -> None:
        """Take an answer into the account, by what it says was entered."""
        refused = isinstance(result, TradeRefused)
        closes = isinstance(result, TradeResult) and result.closed_position_id is not None
        intent = Intent(order.trade_id, kind, number, refused, closes)
        changes: list[tuple[str, Fraction]] = []
        if isinstance(result, ResetResult):
            changes = [change for row in result.transactions for change in effects(row.model_dump())]
        elif isinstance(result, TradeResult):
            changes = self._changes(kind, order, result)
        with self._lock:
            self.record.add(intent, changes)
            self.counted[f"refused: {type(result).__name__}" if refused else kind] += 1

    @staticmethod
    def _changes(kind: str, order: WalletOrder, result: TradeResult) -> list[tuple[str, Fraction]]:
        """By the order, but for a write-off: it burns whatever there is."""
        given = order.model_dump()
        fees = sum((Fraction(given.get(name) or 0) for name in ("protocol_fee_sol", "network_fee_sol")), Fraction(0))
        paid = [(SOL_MINT, -fees)]
        token = given.get("token_address", "")
        if kind == "write_off":
            return [*paid, (token, -Fraction(result.transaction.input_amount or 0))]
        if kind == "swap":
            received = Fraction(given["output_amount"])
            return [*paid, (given["input_mint"], -Fraction(given["input_amount"])), (given["output_mint"], received)]
        if "amount" in given:
            return [*paid, (token, Fraction(given["amount"]) * (1 if kind == "deposit" else -1))]
        sign = 1 if kind in ("buy", "dca_buy") else -1
        sol, amount = Fraction(given["sol_amount"]), Fraction(given["token_amount"])
        return [*paid, (SOL_MINT, -sign * sol), (token, sign * amount)]
