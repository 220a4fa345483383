# Generated from nexgent_db/aio/repositories/balances.py by `make sync`: do not edit.
"""Balances: ``sql/balances.sql``."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from nexgent_db.models.balances import AgentBalance, LedgerDifference
from nexgent_db.models.base import MANY, Limit, TokenAddress, WalletAddress
from nexgent_db.models.pages import AfterToken, Page, decode_cursor, make_page_by, one_more_than
from nexgent_db.queries.binding import query
from nexgent_db.sync.repositories.base import Repository

_FIRST: Final = AfterToken()


class BalanceRepository(Repository, sql="balances"):
    """The balances of wallets. Only trades change them."""

    @query
    def find_by_wallet_and_token(
        self, wallet_address: WalletAddress, token_address: TokenAddress
    ) -> AgentBalance | None:
        """The wallet's balance of this token; None when the wallet never held it."""
        ...

    @query
    def list_by_wallet(
        self,
        agent_id: UUID,
        wallet_address: WalletAddress,
        limit: Limit | None = None,
        after: AfterToken = _FIRST,
    ) -> list[AgentBalance]:
        """The wallet's balances by token address, including those that are 0 now; those after ``after`` when given.

        Raises ListTooLong without a limit, for more than 10,000 balances.
        """
        ...

    def page_by_wallet(
        self, agent_id: UUID, wallet_address: WalletAddress, limit: Limit = 100, cursor: str | None = None
    ) -> Page[AgentBalance]:
        """A page of the wallet's balances by token address: the first page, or the one of the ``cursor``.

        Raises InvalidInput for a cursor of another list, then for a limit outside of 1 to 9,999.
        """
        after = decode_cursor(cursor, "balances", AfterToken)
        rows = self.list_by_wallet(agent_id, wallet_address, one_more_than(limit), after)
        return make_page_by(lambda balance: (balance.token_address,), rows, limit, "balances")

    @query
    def list_by_wallets(
        self, token_address: TokenAddress, wallet_addresses: Annotated[list[WalletAddress], Field(max_length=MANY)]
    ) -> list[AgentBalance]:
        """The balances of one token in up to 10,000 wallets, by wallet; a wallet that never held the token has none.

        Raises InvalidInput for more than 10,000 wallets.
        """
        ...

    @query
    def list_ledger_differences(
        self, wallet_address: WalletAddress, limit: Limit | None = None
    ) -> list[LedgerDifference]:
        """The balances of the wallet that are not the sum of its transactions' changes, by token; none without errors.

        Reads the wallet's part of the ledger. ``nexgent-db ledger check`` asks for every wallet. Raises ListTooLong
        without a limit, for more than 10,000 differences.
        """
        ...
