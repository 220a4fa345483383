"""Callers in this process of workers in others: a trader of one wallet, and readers of what traders were answered."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from tests.chaos.child import Child, Killed
from tests.chaos.sending import TOGETHER
from tests.chaos.wallets import Drawn, Wallet
from tests.support.oracles.trade_oracle import Findings

SILENT: Final = 0.2
"""The probability that a process does not notify the cache of an order: until maintenance has relayed it, only a reader
that passes its version sees it."""
SINGLE: Final = 0.8
MOST_TOGETHER: Final = 4


@dataclass(frozen=True)
class Seen:
    """An open position, as the answer to its trader has it."""

    id: str
    version: int


@dataclass
class Trader:
    """Sends the orders of one wallet, and knows what must come of them."""

    wallet: Wallet
    child: Child
    random: random.Random
    deaths: float
    """How probable it is that the process dies between the COMMIT of an order and the cache."""
    counted: Counter[str]
    findings: Findings
    held: dict[str, Seen] = field(default_factory=dict)
    made: int = 0
    """How many orders were answered."""

    def trade(self) -> None:
        """One order, or some in one transaction, sent until they are answered. Raises Found."""
        how, number = "single", 1
        if self.random.random() >= SINGLE:
            how, number = self.random.choice(TOGETHER), self.random.randint(1, MOST_TOGETHER)
        drawn = [self.wallet.draw() for _ in range(number)]
        dies, silent = self.random.random() < self.deaths, self.random.random() < SILENT
        for one in drawn:
            if one.kind == "reset_wallet":
                self.held.clear()  # from now on no reader can be sure of them
            elif one.intent.closes:
                self.held.pop(one.token or "", None)
        answer = self._answer(drawn, how, dies=dies, silent=silent)
        for stale in answer["stale"]:
            self.findings.add("stale read", f"after {how} {[one.kind for one in drawn]}: {stale}")
        for one, result in zip(drawn, answer["results"], strict=True):
            self._note(one, result)
        self.counted[f"by {how}"] += number

    def _answer(self, drawn: list[Drawn], how: str, *, dies: bool, silent: bool) -> dict[str, Any]:
        orders = [(one.kind, one.order) for one in drawn]
        while True:
            self.counted["sent"] += len(drawn)
            try:
                answer = self.child.ask({"orders": orders, "how": how, "dies": dies, "silent": silent})
            except Killed:
                self.counted["sent again after a death"] += 1
                dies = False
                continue
            if "failed" not in answer:
                return answer
            self.counted[f"sent again after {answer['failed'].partition(':')[0]}"] += 1
            self.counted["sent again after a failure"] += 1

    def _note(self, one: Drawn, result: dict[str, Any]) -> None:
        if (result["refused"] is not None) != one.intent.refused:
            name = "phantom" if one.intent.refused else "lost"
            self.findings.add(name, f"{one.intent} was answered with {result}")
        self.made += 1
        self.counted["answered"] += 1
        if one.intent.refused:
            self.counted["refused"] += 1
            return
        self.counted[one.kind] += 1
        self.counted["executed already when sent again"] += result["duplicate"]
        if result["position"] is not None and (token := one.token or "") in self.wallet.record.positions:
            self.held[token] = Seen(result["position"], result["version"])


class Reader:
    """Reads what traders hold, with the version of the answer."""

    def __init__(self, traders: list[Trader], child: Child, seed: str) -> None:
        self._traders = traders
        self._child = child
        self._random = random.Random(seed)

    def read(self) -> None:
        """One read of a position and of two sets."""
        trader = self._random.choice(self._traders)
        token, held = self._random.choice([*list(trader.held.items()), ("", None)])
        if held is None:
            time.sleep(0.001)
            return
        agent_id = trader.wallet.owner.agent_id
        asked = {"position": held.id, "version": held.version, "agent": str(agent_id), "token": token}
        try:
            answer = self._child.ask(asked)
        except Killed:
            return
        if "failed" in answer:
            trader.counted["reads without the database"] += 1
            return
        trader.counted["reads"] += 1
        still = trader.held.get(token)
        closed = still is None or still.id != held.id
        for version in answer["versions"]:
            if version is None and not closed:
                trader.findings.add("stale read", f"position {held.id} is acknowledged and open, and was not found")
            if version is not None and version < held.version:
                text = f"position {held.id} of version {version} for a reader who passed {held.version}"
                trader.findings.add("stale read", text)
