"""What the agents of a replay hold, read from the database once and then kept up with their trades."""

from __future__ import annotations

from typing import Final

from nexgent_db.models.base import MANY
from nexgent_db.replay.accounts import Account
from nexgent_db.replay.events import Event, SwapEvent
from nexgent_db.replay.ledger import Ledger, Position
from nexgent_db.sync.transaction import Transaction

__all__ = ["Holdings"]

_MAX_TOKENS: Final = 50_000
"""How many balances are in memory, of all agents together. Above it each token is read when an event concerns it."""


class Holdings:
    """The ledger of each agent: the whole wallet is read when its first event comes, or each token if it has many."""

    def __init__(self) -> None:
        self._ledgers: dict[str, Ledger] = {}
        self._read: dict[str, set[str]] = {}
        """The tokens that were read, of each wallet that was not read whole."""
        self._by_token = False

    def ledger_of(self, tx: Transaction, account: Account, event: Event) -> Ledger:
        """What the agent holds of the event's tokens, and of others perhaps."""
        ledger = self._ledgers.get(account.wallet_address)
        if ledger is None:
            ledger = self._ledgers[account.wallet_address] = Ledger()
            if self._by_token or not _read_whole(tx, account, ledger):
                self._read[account.wallet_address] = set()
        read = self._read.get(account.wallet_address)
        if read is not None:
            for token in _tokens_of(event) - read:
                _read_token(tx, account, ledger, token)
                read.add(token)
        return ledger

    def forget(self) -> None:
        """Read everything again."""
        self._ledgers.clear()
        self._read.clear()

    def limit(self) -> None:
        """Forget everything when it is too much."""
        read = sum(len(tokens) for tokens in self._read.values())
        if read + sum(len(ledger.balances) for ledger in self._ledgers.values()) > _MAX_TOKENS:
            self.forget()
            self._by_token = True


def _read_whole(tx: Transaction, account: Account, ledger: Ledger) -> bool:
    """Read all that the wallet holds; False when there may be more than a list returns."""
    balances = tx.balances.list_by_wallet(account.agent_id, account.wallet_address, MANY)
    positions = tx.positions.list_by_agent(account.agent_id, account.wallet_address, MANY)
    if MANY in (len(balances), len(positions)):
        return False
    ledger.balances.update((row.token_address, row.balance) for row in balances if row.balance)
    ledger.positions.update((row.token_address, Position(row.remaining)) for row in positions)
    return True


def _read_token(tx: Transaction, account: Account, ledger: Ledger, token: str) -> None:
    balance = tx.balances.find_by_wallet_and_token(account.wallet_address, token)
    if balance is not None and balance.balance:
        ledger.balances[token] = balance.balance
    position = tx.positions.find_by_wallet_and_token(account.agent_id, account.wallet_address, token)
    if position is not None:
        ledger.positions[token] = Position(position.remaining)


def _tokens_of(event: Event) -> set[str]:
    return {event.input_mint, event.output_mint} if isinstance(event, SwapEvent) else {event.mint}
