"""A wallet whose caller knows everything: draws orders of every kind, and keeps the record of what they must leave."""

from __future__ import annotations

import random
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from nexgent_db.models import SOL_MINT
from nexgent_db.models.trades import WalletOrder
from tests.integration.sync.factories import Owner
from tests.support.oracles.trade_oracle import Intent, Record

POSITION_TOKENS: Final = ("TokenA", "tokena", "TokenB")
"""The first two share the key of their set."""
LOOSE_TOKENS: Final = ("LooseA", "LooseB")
"""Tokens without a position: plain swaps, deposits, withdrawals and burns move them."""
REFUSALS: Final = 0.05
"""The part of orders that must be refused."""
RESETS: Final = 0.004
_FEE: Final = "0.000005"
_MORE_THAN_ANY: Final = str(10**15)


@dataclass(frozen=True)
class Drawn:
    """An order, the name of its method, and what its caller expects."""

    kind: str
    order: WalletOrder
    intent: Intent

    @property
    def token(self) -> str | None:
        """The token of the position that it concerns."""
        return getattr(self.order, "token_address", None)


class Wallet:
    """Draws the orders of one wallet, one after another, each for the state that those before it leave."""

    def __init__(self, owner: Owner, chance: random.Random, *, resets: bool = True) -> None:
        self.owner = owner
        self.record = Record(owner.wallet_address)
        self._chance = chance
        self._resets = resets
        self._number = 0

    def draw(self) -> Drawn:
        """The next order. It counts as executed, or refused, from now on: send it until it is answered."""
        self._number += 1
        if self._held(SOL_MINT) < 10:
            return self._moved("deposit", SOL_MINT, Decimal(100))
        if self._chance.random() < REFUSALS:
            return self._refused()
        if self._resets and self._chance.random() < RESETS:
            return self._reset()
        match self._chance.choices(("deposit", "withdraw", "burn", "swap", "position"), (1, 1, 1, 2, 9))[0]:
            case "position":
                return self._of_position()
            case "swap":
                return self._swapped()
            case kind:
                return self._moved_somewhat(kind)

    # --- Orders -------------------------------------------------------------------------------------

    def _of_position(self) -> Drawn:
        token = self._chance.choice(POSITION_TOKENS)
        sol, amount = Decimal(self._chance.randint(10**6, 10**9)) / 10**9, self._amount()
        position = self.record.positions.get(token)
        if position is None:
            drawn = self._traded("buy", token, sol, amount)
            self.record.positions[token] = drawn.intent.trade_id, Fraction(amount)
            return drawn
        purchase, remaining = position
        kinds = ("dca_buy", "take_profit", "take_profit all", "sell", "write_off")
        kind = self._chance.choices(kinds, (8, 8, 1, 4, 2))[0]
        if kind == "dca_buy":
            self.record.positions[token] = purchase, remaining + Fraction(amount)
            return self._traded("dca_buy", token, sol, amount)
        part = Decimal(int(remaining * 10**6 / 3)) / 10**6
        if kind == "take_profit" and part > 0:
            self.record.positions[token] = purchase, remaining - Fraction(part)
            return self._traded("take_profit", token, sol, part)
        del self.record.positions[token]
        if kind == "write_off":
            order = self.owner.write_off(token).model_copy(update=self._marked())
            return self._drawn("write_off", order, (token, -self.record.balances[token]), closes=True)
        method = "take_profit" if kind == "take_profit all" else "sell"
        return self._traded(method, token, sol, decimal_of(remaining), closes=True)

    def _traded(self, kind: str, token: str, sol: Decimal, amount: Decimal, *, closes: bool = False) -> Drawn:
        fee = _FEE if self._chance.random() < 0.5 else None
        more: dict[str, Any] = {} if fee is None else {"protocol_fee_sol": fee}
        if kind in ("buy", "dca_buy"):
            order = getattr(self.owner, kind)(str(sol), str(amount), token, **more)
            sign = 1
        else:
            order = getattr(self.owner, kind)(str(amount), str(sol), token, **more)
            sign = -1
        changes = (token, sign * Fraction(amount)), (SOL_MINT, -sign * Fraction(sol)), (SOL_MINT, -Fraction(fee or 0))
        return self._drawn(kind, order.model_copy(update=self._marked()), *changes, closes=closes)

    def _swapped(self) -> Drawn:
        given, received = self._chance.sample((*LOOSE_TOKENS, SOL_MINT), 2)
        amount = self._part_of(given)
        if amount <= 0:
            return self._moved("deposit", given, self._amount())
        got = self._amount() if received != SOL_MINT else Decimal(self._chance.randint(1, 10**9)) / 10**9
        order = self.owner.swap(str(amount), given, str(got), received)
        names = {"input_symbol": "SOL", "output_symbol": "SOL"}
        names["output_symbol" if given == SOL_MINT else "input_symbol"] = str(self._number)
        changes = (given, -Fraction(amount)), (received, Fraction(got))
        return self._drawn("swap", order.model_copy(update=names), *changes)

    def _moved_somewhat(self, kind: str) -> Drawn:
        token = self._chance.choice((*LOOSE_TOKENS, SOL_MINT))
        amount = self._amount() if kind == "deposit" else self._part_of(token)
        return self._moved(kind if amount > 0 else "deposit", token, amount if amount > 0 else self._amount())

    def _moved(self, kind: str, token: str, amount: Decimal) -> Drawn:
        order = getattr(self.owner, kind)(str(amount), token).model_copy(update=self._marked())
        return self._drawn(kind, order, (token, Fraction(amount) * (1 if kind == "deposit" else -1)))

    def _reset(self) -> Drawn:
        self.record.positions.clear()
        changes = [(token, -held) for token, held in self.record.balances.items()]
        return self._drawn("reset_wallet", self.owner.reset("50"), *changes, (SOL_MINT, Fraction(50)))

    def _refused(self) -> Drawn:
        """An order that no later state of the wallet makes possible: a copy of it may still arrive then."""
        token = self._chance.choice(POSITION_TOKENS)
        held = token if token in self.record.positions else "NeverHeld"
        kind, order = self._chance.choice(
            [
                ("buy", self.owner.buy(_MORE_THAN_ANY, "1", token)),
                ("dca_buy", self.owner.dca_buy(_MORE_THAN_ANY, "1", token)),
                ("sell", self.owner.sell(_MORE_THAN_ANY, "1", held)),
                ("take_profit", self.owner.take_profit(_MORE_THAN_ANY, "1", held)),
                ("write_off", self.owner.write_off("NeverHeld")),
                ("withdraw", self.owner.withdraw(_MORE_THAN_ANY)),
                ("burn", self.owner.burn("1", "NeverHeld")),
                ("swap", self.owner.swap("1", "NeverHeld", "1", SOL_MINT)),
            ]
        )
        names = {"input_symbol": str(self._number)} if kind == "swap" else self._marked()
        return self._drawn(kind, order.model_copy(update=names), refused=True)

    # --- Parts --------------------------------------------------------------------------------------

    def _drawn(
        self, kind: str, order: WalletOrder, *changes: tuple[str, Fraction], refused: bool = False, closes: bool = False
    ) -> Drawn:
        intent = Intent(order.trade_id, kind, self._number, refused, closes)
        self.record.add(intent, () if refused else changes)
        return Drawn(kind, order, intent)

    def _marked(self) -> dict[str, str]:
        return {"token_symbol": str(self._number)}

    def _held(self, token: str) -> Fraction:
        return self.record.balances.get(token, Fraction(0))

    def _part_of(self, token: str) -> Decimal:
        """A third of what is held, at most five SOL."""
        third = Decimal(int(self._held(token) * 10**6 / 3)) / 10**6
        return min(third, Decimal(5)) if token == SOL_MINT else third

    def _amount(self) -> Decimal:
        return Decimal(self._chance.randint(1, 10**12)) / 10**6


def decimal_of(number: Fraction) -> Decimal:
    """An amount that ends within 18 decimals."""
    scaled = number * 10**18
    assert scaled.denominator == 1, number
    return Decimal(scaled.numerator).scaleb(-18)
