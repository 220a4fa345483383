"""Callers that use a database in every way and record what was acknowledged to them and what they read.

Each caller has its own rows and reads only these, so another caller's row, or an empty result, is a fault. The calls
are chosen at random: tests/chaos interrupts them at any place.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any
from uuid import UUID

from nexgent_db import AsyncDatabase, AsyncTransaction
from nexgent_db.models import SOL_MINT
from nexgent_db.models.trades import TradeResult, WalletOrder
from tests.chaos.accounting import STREAMED_ROWS, Account
from tests.integration.aio.factories import Owner, new_owner

Deposit = tuple[UUID, int]
"""A request id, and the version of the balance that it left."""


class Undone(Exception):
    """The caller's own error, which must roll the transaction back."""


class Caller:
    """One caller with an agent and a wallet of its own; ``shared`` is a wallet that all of them deposit into."""

    def __init__(self, db: AsyncDatabase, owner: Owner, shared: Owner, account: Account, chance: random.Random) -> None:
        self._db = db
        self._owner = owner
        self._shared = shared
        self._account = account
        self._chance = chance
        self._last: UUID | None = None
        self._version = 0

    async def step(self, use: str) -> None:
        """One random action of a caller in this use."""
        ways: dict[str, tuple[Callable[[], Awaitable[None]], ...]] = {
            "plain": (self._plain, self._plain, self._block, self._contended, self._position),
            "pipeline": (self._pipeline, self._pipeline, self._pipeline, self._plain),
            "tenant": (self._plain, self._block, self._pipeline, self._stream, self._foreign),
            "cached": (self._cached, self._cached, self._plain, self._block, self._pipeline, self._position),
            "streaming": (self._stream, self._stream, self._stream_in_a_block, self._list, self._plain),
        }
        await self._chance.choice(ways[use])()

    async def look(self, where: AsyncDatabase | AsyncTransaction | None = None) -> None:
        """One call, whose answer is known."""
        user = await (where or self._db).users.find_by_id(self._owner.user_id)
        self._account.check(user is not None and user.id == self._owner.user_id, f"{self._owner.user_id}: {user}")

    # --- What callers do ----------------------------------------------------------------------------

    async def _plain(self) -> None:
        if self._chance.random() < 0.5:
            self._acknowledge([await self._deposit(self._db)])
        else:
            await self._read(self._db)

    async def _position(self) -> None:
        """The life of a position, each trade of it; one that is interrupted is left as it is."""
        owner, token = self._owner, f"T{self._chance.getrandbits(64):x}"
        sale, write_off = ("sell", owner.sell("4", "0.000001", token)), ("write_off", owner.write_off(token))
        life: tuple[tuple[str, WalletOrder], ...] = (
            ("buy", owner.buy("0.000001", "3", token)),
            ("dca_buy", owner.dca_buy("0.000001", "3", token)),
            ("take_profit", owner.take_profit("2", "0.000001", token)),
            sale if self._chance.random() < 0.5 else write_off,
        )
        for kind, order in life:
            result = await getattr(self._db.trades, kind)(order)
            closed, entry = result.position is None, result.transaction
            own = (entry.id, entry.wallet_address) == (order.trade_id, owner.wallet_address)
            right = own and not result.duplicate and closed == (kind in ("sell", "write_off"))
            self._account.check(right, f"{kind} {order.trade_id} of {token}: {result}")
            self._account.acknowledge(order.trade_id)

    async def _contended(self) -> None:
        """Wait in the server for other callers, which lock the wallet for a moment."""
        if self._chance.random() < 0.5:
            order = self._shared.deposit(self._amount())
            result = await self._db.trades.deposit(order)
            self._check_deposit(result, order.trade_id, self._shared)
            self._account.acknowledge(order.trade_id)
        else:
            async with self._db.transaction() as tx:
                order = self._shared.deposit(self._amount())
                await tx.trades.deposit(order)
                await self._pause()
            self._account.acknowledge(order.trade_id)

    async def _block(self) -> None:
        await self._in_a_block(pipeline=False)

    async def _pipeline(self) -> None:
        await self._in_a_block(pipeline=True)

    async def _in_a_block(self, *, pipeline: bool) -> None:
        deposits: list[Deposit] = []
        undone: list[Deposit] = []
        try:
            async with self._db.transaction(pipeline=pipeline) as tx:
                deposits.append(await self._deposit(tx))
                await self._within(tx, deposits, undone)
                await self._pause()
                if self._chance.random() < 0.5:
                    await self._read(tx)
                await self._within(tx, deposits, undone)
                if self._chance.random() < 0.2:
                    raise Undone
        except Undone:
            self._undo([*deposits, *undone])
        else:
            self._acknowledge(deposits)
            self._undo(undone)

    async def _within(self, tx: AsyncTransaction, deposits: list[Deposit], undone: list[Deposit]) -> None:
        """A nested transaction, sometimes rolled back."""
        try:
            async with tx.transaction() as inner:
                deposit = await self._deposit(inner)
                if self._chance.random() < 0.3:
                    async with inner.transaction() as innermost:
                        await self._read(innermost)
                if self._chance.random() < 0.3:
                    raise Undone
        except Undone:
            undone.append(deposit)
        else:
            deposits.append(deposit)

    async def _foreign(self) -> None:
        """Rows of another user must be invisible."""
        found = await self._db.agents.find_by_id(self._shared.agent_id)
        self._account.check(found is None, f"agent {self._shared.agent_id} is another user's")

    async def _cached(self) -> None:
        owner = self._owner
        row = await self._db.cache.balance(owner.agent_id, owner.wallet_address, SOL_MINT)
        own = row is not None and (row.agent_id, row.wallet_address) == (owner.agent_id, owner.wallet_address)
        right = own and row is not None and row.version >= self._version
        self._account.check(right, f"cached balance of {owner.wallet_address}, version {self._version}: {row}")
        rows = await self._db.cache.balances_of_wallet(owner.agent_id, owner.wallet_address)
        wallets = {each.wallet_address for each in rows}
        tokens = Counter(each.token_address for each in rows)
        right = wallets == {owner.wallet_address} and tokens[SOL_MINT] == 1 == max(tokens.values())
        self._account.check(right, f"cached balances of {owner.wallet_address}: {wallets}, {tokens}")

    async def _list(self) -> None:
        page = await self._db.transactions.page_by_agent(self._owner.agent_id, limit=20)
        self._check_own(page.items, 20)
        rows = await self._db.transactions.list_by_agent(self._owner.agent_id, limit=STREAMED_ROWS)
        self._check_own(rows, STREAMED_ROWS)

    async def _stream(self) -> None:
        """Reads a stream to its end or to some row, then closes it or leaves it to the garbage collector."""
        stream: Any = self._db.transactions.stream_by_agent(self._owner.agent_id)
        most = self._chance.choice((1, 5, 10, 15, STREAMED_ROWS, 10**6))
        if self._chance.random() < 0.3:
            await self._take_from(stream, most)
        else:
            async with aclosing(stream):
                await self._take_from(stream, most)

    async def _stream_in_a_block(self) -> None:
        async with self._db.transaction() as tx:
            deposit = await self._deposit(tx)
            stream: Any = tx.transactions.stream_by_agent(self._owner.agent_id)
            async with aclosing(stream):
                await self._take_from(stream, self._chance.choice((1, 15, 10**6)))
        self._acknowledge([deposit])

    async def _take_from(self, stream: Any, most: int) -> None:
        rows = []
        async for row in stream:
            rows.append(row)
            if len(rows) == most:
                break
        self._check_own(rows, min(most, STREAMED_ROWS))

    # --- What they look at --------------------------------------------------------------------------

    async def _deposit(self, where: AsyncDatabase | AsyncTransaction) -> Deposit:
        order = self._owner.deposit(self._amount())
        result = await where.trades.deposit(order)
        self._check_deposit(result, order.trade_id, self._owner)
        return order.trade_id, result.balances[0].version

    def _check_deposit(self, result: TradeResult, trade_id: UUID, owner: Owner) -> None:
        wallets = {owner.wallet_address} == {
            result.transaction.wallet_address,
            *(balance.wallet_address for balance in result.balances),
        }
        own = result.transaction.id == trade_id and wallets and not result.duplicate
        self._account.check(own, f"deposit {trade_id} into {owner.wallet_address}: {result}")

    async def _read(self, where: AsyncDatabase | AsyncTransaction) -> None:
        owner = self._owner
        await self.look(where)
        if (last := self._last) is not None:
            transaction = await where.transactions.find_by_id(last)
            right = transaction is not None and transaction.id == last
            self._account.check(right, f"acknowledged transaction {last}: {transaction}")
        balance = await where.balances.find_by_wallet_and_token(owner.wallet_address, SOL_MINT)
        right = balance is not None and balance.wallet_address == owner.wallet_address
        self._account.check(right, f"balance of {owner.wallet_address}: {balance}")

    def _check_own(self, rows: Any, at_least: int) -> None:
        agents = {row.agent_id for row in rows}
        self._account.check(agents == {self._owner.agent_id}, f"rows of {agents}, not of {self._owner.agent_id}")
        distinct = len({row.id for row in rows})
        self._account.check(distinct == len(rows) >= at_least, f"{distinct} of {len(rows)} rows, not {at_least}")

    def _acknowledge(self, deposits: list[Deposit]) -> None:
        self._account.acknowledge(*(trade_id for trade_id, _ in deposits))
        self._last, self._version = deposits[-1]

    def _undo(self, deposits: list[Deposit]) -> None:
        self._account.undo(*(trade_id for trade_id, _ in deposits))

    def _amount(self) -> str:
        return f"0.{self._chance.randint(1, 10**9):09}"

    async def _pause(self) -> None:
        """Keep the transaction open for a moment: others wait for its connection and its wallet."""
        await asyncio.sleep(self._chance.choice((0.0, 0.001, 0.003)))


async def make_callers(
    setup: AsyncDatabase, db: AsyncDatabase, account: Account, count: int, seed: int, *, rows: int
) -> list[Caller]:
    """This many callers of ``db`` with this many rows each; each is its own user when ``db`` is a tenant's.

    ``setup`` is for all users.
    """
    shared = await new_owner(setup)
    callers = []
    for number in range(count):
        owner = await new_owner(setup)
        async with setup.transaction() as tx:
            for _ in range(rows):
                await tx.trades.deposit(owner.deposit("1"))
        own = db if db.tenant is None else db.for_tenant(owner.user_id)
        callers.append(Caller(own, owner, shared, account, random.Random(f"{seed} caller {number}")))
    return callers
