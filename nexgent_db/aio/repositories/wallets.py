"""Wallets: ``sql/wallets.sql``."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.models.agents import Agent
from nexgent_db.models.base import Limit, TradingMode, WalletAddress
from nexgent_db.models.pages import AfterAddress, Page, decode_cursor, make_page_by, one_more_than
from nexgent_db.models.wallets import AgentWallet
from nexgent_db.queries.binding import query

_FIRST: Final = AfterAddress()


class WalletRepository(Repository, sql="wallets"):
    """The addresses that agents trade from. No method takes or returns a private key."""

    @query
    async def create(self, wallet_address: WalletAddress, agent_id: UUID, wallet_type: TradingMode) -> AgentWallet:
        """Create a wallet of the agent.

        Raises WalletTaken when the address is taken, WalletTypeTaken when the agent has a wallet of this type,
        ForeignKeyViolation when there is no such agent.
        """
        ...

    @query
    async def list_by_agent(self, agent_id: UUID) -> list[AgentWallet]:
        """The agent's wallets, simulation first; at most two."""
        ...

    @query
    async def list_all(
        self, wallet_type: TradingMode | None = None, after: AfterAddress = _FIRST, limit: Limit | None = None
    ) -> list[AgentWallet]:
        """The wallets of all agents, by address, of one type when it is given.

        Those after the key ``after`` when it is given. Raises ListTooLong without a limit, for more than 10,000.
        """
        ...

    async def page_all(
        self, wallet_type: TradingMode | None = None, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentWallet]:
        """A page of the wallets of all agents, by address: the first page, or the one of the ``cursor``.

        Raises InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        after = decode_cursor(cursor, "wallets", AfterAddress)
        rows = await self.list_all(wallet_type, after, one_more_than(limit))
        return make_page_by(lambda wallet: (wallet.wallet_address,), rows, limit, "wallets")

    @query
    async def find_with_agent(self, wallet_address: WalletAddress) -> tuple[AgentWallet, Agent] | None:
        """The wallet of this address, and its agent."""
        ...

    @query
    async def change_address(
        self, agent_id: UUID, wallet_address: WalletAddress, new_address: WalletAddress
    ) -> AgentWallet | None:
        """Give the wallet another address; returns the changed wallet, None when the agent has no such wallet.

        Every row that names the old address follows: positions, balances, snapshots, transactions, historical swaps and
        stored orders. So does the cache. Addresses inside of JSON and destinations of withdrawals stay as recorded. A
        call with the address that the wallet has already changes nothing.

        Afterwards an order of the old address raises WalletNotFound, whether it was executed before or not;
        ``trade_requests.list_by_ids`` says which. With the new address it is another order: when the first was
        executed, it raises IdempotencyConflict under its first id, and for the same on-chain transaction.

        Raises InvalidInput for an address of more than 44 characters; WalletTaken when the new address is a wallet
        already. Nothing is changed then.

        Locks until the end of the transaction: the agent's row FOR KEY SHARE; the wallet's row, its positions and its
        balances FOR UPDATE, in this order. Trades of the wallet wait. It writes each row of the wallet's history: about
        20,000 transactions a second.
        """
        ...

    @query
    async def delete(self, agent_id: UUID, wallet_address: WalletAddress) -> int:
        """Delete the agent's wallet with its positions, balances and transactions; 0 when another agent has it.

        The tokens of the wallet on the chain stay there.
        """
        ...
