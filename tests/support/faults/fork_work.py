"""The work of parent and child after a fork: read own rows, deposit, and record every foreign reply."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from nexgent_db import AsyncDatabase, Database
from nexgent_db.models import SOL_MINT, SignalOrder
from tests.integration.sync.factories import Owner
from tests.support.faults.forking import STUCK_S

THREADS: Final = 2
"""Of each process; tasks, for the asynchronous one."""


@dataclass
class Work:
    """The calls of one process with a wallet that no other process uses."""

    owner: Owner
    reads: int = 0
    acknowledged: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)
    stuck: int = 0

    def saw_user(self, user: Any) -> None:
        """The answer to a query for the owner's user."""
        self.reads += 1
        if user is None or user.id != self.owner.user_id:
            self.wrong.append(f"user: {user!r}")

    def saw_deposit(self, order: Any, result: Any) -> None:
        """The answer to a deposit."""
        made = result.transaction
        if made.id != order.trade_id or made.wallet_address != self.owner.wallet_address or result.duplicate:
            self.wrong.append(f"deposit {order.trade_id}: {result!r}")
        self.acknowledged.append(str(order.trade_id))

    def saw_balance(self, least: int, balance: Any) -> None:
        """The answer to a read through the cache after ``least`` deposits of 1 were acknowledged."""
        self.reads += 1
        mine = balance is not None and balance.wallet_address == self.owner.wallet_address
        if not mine or balance.balance < least:
            self.wrong.append(f"balance, at least {least}: {balance!r}")

    def failed_with(self, error: BaseException) -> None:
        """A call raised."""
        self.failed[f"{type(error).__name__}: {error}"[:300]] += 1

    def report(self, db: Database | AsyncDatabase) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "reads": self.reads,
            "acknowledged": self.acknowledged,
            "wrong": len(self.wrong),
            "failed": dict(self.failed.most_common(5)),
            "stuck": self.stuck,
            "examples": self.wrong[:3],
            "hits": db.cache.metrics().hits,
            "replica_reads": db.replica.metrics().replica_reads,
        }


def step(db: Database, work: Work) -> None:
    """One read, one deposit, one read through the cache, and one on a replica if there are any."""
    work.saw_user(db.users.find_by_id(work.owner.user_id))
    order = work.owner.deposit("1")
    work.saw_deposit(order, db.trades.deposit(order))
    least = len(work.acknowledged)
    work.saw_balance(least, db.cache.balance(work.owner.agent_id, work.owner.wallet_address, SOL_MINT))
    if db.settings.replica_conninfos:
        work.saw_balance(least, db.replica.balances.find_by_wallet_and_token(work.owner.wallet_address, SOL_MINT))


def run(db: Database, owner: Owner, seconds: float, *, threads: int = THREADS) -> Work:
    """Work in this many threads for this long. A thread that does not end counts as stuck."""
    work = Work(owner)
    until = time.monotonic() + seconds

    def repeat() -> None:
        while time.monotonic() < until and sum(work.failed.values()) < 1000:
            try:
                step(db, work)
            except Exception as error:
                work.failed_with(error)

    running = [threading.Thread(target=repeat, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(max(0.0, until - time.monotonic()) + STUCK_S / 2)
    work.stuck = sum(thread.is_alive() for thread in running)
    return work


async def step_async(db: AsyncDatabase, work: Work) -> None:
    """The same."""
    work.saw_user(await db.users.find_by_id(work.owner.user_id))
    order = work.owner.deposit("1")
    work.saw_deposit(order, await db.trades.deposit(order))
    least = len(work.acknowledged)
    work.saw_balance(least, await db.cache.balance(work.owner.agent_id, work.owner.wallet_address, SOL_MINT))
    if db.settings.replica_conninfos:
        found = await db.replica.balances.find_by_wallet_and_token(work.owner.wallet_address, SOL_MINT)
        work.saw_balance(least, found)


async def run_async(db: AsyncDatabase, owner: Owner, seconds: float, *, tasks: int = THREADS) -> Work:
    """The same in this many tasks."""
    work = Work(owner)
    until = time.monotonic() + seconds

    async def repeat() -> None:
        while time.monotonic() < until and sum(work.failed.values()) < 1000:
            try:
                await step_async(db, work)
            except Exception as error:
                work.failed_with(error)
            await asyncio.sleep(0)

    running = [asyncio.create_task(repeat()) for _ in range(tasks)]
    _, late = await asyncio.wait(running, timeout=seconds + STUCK_S / 2)
    work.stuck = len(late)
    for task in late:
        task.cancel()
    return work


def signals() -> list[SignalOrder]:
    """More than a stream fetches at once."""
    return [
        SignalOrder(token_address=f"T{number}", signal_type="BUY", signal_strength=1, symbol=None)
        for number in range(2500)
    ]


def described(error: BaseException) -> list[str]:
    """An error's type and message, and the types of those that it was raised in."""
    texts, context = [type(error).__name__, str(error)], error.__context__
    while context is not None:
        texts.append(type(context).__name__)
        context = context.__context__
    return texts
