"""A client of the legacy schema that trades while the tables are migrated.

It sends the statements of the public system: trades of several statements in a transaction, balances as text, reads by
every look-up. Its lock order differs from ours. It does not prepare statements: after the change of a type, a prepared
one would fail (SQLSTATE 0A000).
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg

_SOL: Final = "So11111111111111111111111111111111111111112"
_PAUSE_S: Final = 0.02

_READS: Final = {
    "positions by agent": "SELECT * FROM agent_positions WHERE agent_id = %(agent)s",
    "positions by wallet": ("SELECT * FROM agent_positions WHERE agent_id = %(agent)s AND wallet_address = %(wallet)s"),
    "positions by token": "SELECT * FROM agent_positions WHERE token_address = %(token)s",
    "balances by wallet": "SELECT * FROM agent_balances WHERE wallet_address = %(wallet)s",
    "transactions by agent": (
        "SELECT * FROM agent_transactions WHERE agent_id = %(agent)s ORDER BY transaction_time DESC LIMIT 20"
    ),
    "transactions by wallet": "SELECT * FROM agent_transactions WHERE wallet_address = %(wallet)s LIMIT 20",
    "transactions by signal": "SELECT * FROM agent_transactions WHERE signal_id = %(signal)s LIMIT 20",
    "transactions by time": "SELECT * FROM agent_transactions WHERE transaction_time > now() - interval '1 minute'",
    "swaps by agent": (
        "SELECT * FROM agent_historical_swaps WHERE agent_id = %(agent)s ORDER BY sale_time DESC LIMIT 20"
    ),
    "swaps by token": "SELECT * FROM agent_historical_swaps WHERE token_address = %(token)s LIMIT 20",
    "signals by token": "SELECT * FROM trading_signals WHERE token_address = %(token)s",
    "executions by signal": "SELECT * FROM signal_executions WHERE signal_id = %(signal)s",
    "snapshots by wallet": (
        "SELECT * FROM agent_balance_snapshots WHERE agent_id = %(agent)s AND wallet_address = %(wallet)s"
        " ORDER BY snapshot_timestamp DESC LIMIT 24"
    ),
}

_PLACES: Final = """
    SELECT a.user_id, p.agent_id, p.wallet_address, p.token_address, p.id
    FROM agent_positions AS p
    INNER JOIN agents AS a ON a.id = p.agent_id
    WHERE a.user_id = %s
    ORDER BY p.id
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """One statement: when it was sent (by ``time.monotonic``) and how long its answer took, in seconds."""

    what: str
    at: float
    waited_s: float


@dataclass(frozen=True, slots=True)
class _Place:
    user: UUID
    agent: UUID
    wallet: str
    token: str
    position: UUID


class OldClients:
    """Connections that trade for the positions of one user, each in a thread of its own, until the block ends."""

    def __init__(self, url: str, user: UUID, *, connections: int) -> None:
        """The user needs positions, and its wallets balances of their tokens."""
        self._url = url
        with psycopg.connect(url) as connection:
            rows = connection.execute(_PLACES, [user]).fetchall()
        assert rows
        self._places = [_Place(*row) for row in rows]
        self._before = self._balances()
        self._clients = [_Client(url, self._places, seed) for seed in range(connections)]

    def __enter__(self) -> OldClients:
        for client in self._clients:
            client.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for client in self._clients:
            client.over.set()
        for client in self._clients:
            client.thread.join()

    @property
    def sent(self) -> list[Sent]:
        """Every statement of every connection."""
        return [sent for client in self._clients for sent in client.sent]

    @property
    def errors(self) -> list[Exception]:
        """The errors of all connections; a correct upgrade has none."""
        return [error for client in self._clients for error in client.errors]

    def lost(self) -> list[str]:
        """Rows whose storing was acknowledged to a client and that are not there. Call it after the ``with``."""
        found = []
        with psycopg.connect(self._url) as connection:
            for table in sorted({table for client in self._clients for table in client.stored}):
                ids = [key for client in self._clients for key in client.stored[table]]
                row = connection.execute(f"SELECT count(*) FROM {table} WHERE id = ANY (%s)".encode(), [ids]).fetchone()
                if row != (len(ids),):
                    found.append(f"{table}: a client stored {len(ids)} rows, {row} are there")
        for key, balance in self._balances().items():
            expected = self._before[key] + sum(client.added[key] for client in self._clients)
            if balance != expected:
                found.append(f"balance of {key[1]} in {key[0]}: {expected} was stored, {balance} is there")
        return found

    def _balances(self) -> dict[tuple[str, str], Decimal]:
        with psycopg.connect(self._url) as connection:
            rows = connection.execute(
                "SELECT wallet_address, token_address, balance FROM agent_balances WHERE wallet_address = ANY (%s)",
                [[place.wallet for place in self._places]],
            )
            return {(wallet, token): _exact(balance) for wallet, token, balance in rows}


class LongReader:
    """A long report: reads one table after another until the ``with`` ends, and locks each for this many seconds.

    ``errors`` has its errors; a correct upgrade causes none.
    """

    def __init__(self, url: str, tables: Sequence[str], *, seconds: float) -> None:
        self.errors: list[Exception] = []
        self._url = url
        self._tables = tables
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> LongReader:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        with psycopg.connect(self._url) as connection:
            for table in cycle(self._tables):
                try:
                    connection.execute(f"SELECT 1 FROM {table} LIMIT 1".encode())
                    if self._over.wait(self._seconds):
                        return
                    connection.rollback()
                except psycopg.Error as error:
                    self.errors.append(error)
                    return


class _Client:
    def __init__(self, url: str, places: Sequence[_Place], seed: int) -> None:
        self.sent: list[Sent] = []
        self.errors: list[Exception] = []
        self.stored: dict[str, list[Any]] = defaultdict(list)
        self.added: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self._url = url
        self._places = places
        self._random = random.Random(seed)

    def _run(self) -> None:
        with psycopg.connect(self._url, autocommit=True, prepare_threshold=None) as connection:
            kinds: list[Callable[[psycopg.Connection[Any], _Place], None]] = [
                self._read, self._read, self._trade, self._signal, self._sale, self._snapshot
            ]  # fmt: skip
            while not self.over.wait(_PAUSE_S):
                try:
                    self._random.choice(kinds)(connection, self._random.choice(self._places))
                except Exception as error:
                    self.errors.append(error)
                    if connection.broken:
                        return

    def _execute(
        self, connection: psycopg.Connection[Any], what: str, statement: str, parameters: dict[str, Any]
    ) -> psycopg.Cursor[Any]:
        at = time.monotonic()
        try:
            return connection.execute(statement.encode(), parameters)
        finally:
            self.sent.append(Sent(what, at, time.monotonic() - at))

    def _read(self, connection: psycopg.Connection[Any], place: _Place) -> None:
        what = self._random.choice(list(_READS))
        values = {"agent": place.agent, "wallet": place.wallet, "token": place.token}
        self._execute(connection, what, _READS[what], {**values, "signal": self._random.randint(1, 1000)}).fetchall()

    def _trade(self, connection: psycopg.Connection[Any], place: _Place) -> None:
        """The ledger first, then the position, the balance last."""
        amount = Decimal(self._random.randint(1, 10**6)).scaleb(-8)
        transaction = uuid4()
        with connection.transaction():
            self._add_transaction(connection, place, transaction, amount)
            self._execute(
                connection, "update a position",
                "UPDATE agent_positions SET peak_price = purchase_price + %(amount)s, updated_at = now()"
                " WHERE id = %(id)s",
                {"amount": amount, "id": place.position},
            )  # fmt: skip
            found = self._execute(
                connection, "read a balance",
                "SELECT balance FROM agent_balances WHERE wallet_address = %(wallet)s AND token_address = %(token)s"
                " FOR UPDATE",
                {"wallet": place.wallet, "token": place.token},
            ).fetchone()  # fmt: skip
            assert found is not None
            self._execute(
                connection, "update a balance",
                "UPDATE agent_balances SET balance = %(balance)s, last_updated = now()"
                " WHERE wallet_address = %(wallet)s AND token_address = %(token)s",
                {"balance": f"{_exact(found[0]) + amount:f}", "wallet": place.wallet, "token": place.token},
            )  # fmt: skip
        self.stored["agent_transactions"].append(transaction)
        self.added[place.wallet, place.token] += amount

    def _add_transaction(
        self, connection: psycopg.Connection[Any], place: _Place, transaction: UUID, amount: Decimal
    ) -> None:
        self._execute(
            connection, "insert a transaction",
            "INSERT INTO agent_transactions (id, agent_id, wallet_address, transaction_type, transaction_value_usd,"
            " transaction_time, fees, input_mint, input_symbol, input_amount, input_price, output_mint, output_symbol,"
            " output_amount, output_price, is_dca, transaction_hash, updated_at, is_take_profit, protocol_fee_sol,"
            " network_fee_sol) VALUES (%(id)s, %(agent)s, %(wallet)s, 'SWAP', 1.5, now(), 0.00001, %(sol)s, 'SOL',"
            " %(amount)s, 1, %(token)s, 'T', %(amount)s, 0.001, false, %(hash)s, now(), false, 0.0001, 0.000005)",
            {
                "id": transaction, "agent": place.agent, "wallet": place.wallet, "sol": _SOL, "token": place.token,
                "amount": amount, "hash": transaction.hex * 2,
            },
        )  # fmt: skip

    def _signal(self, connection: psycopg.Connection[Any], place: _Place) -> None:
        execution = uuid4()
        with connection.transaction():
            found = self._execute(
                connection, "insert a signal",
                "INSERT INTO trading_signals (updated_at, token_address, signal_type, signal_strength, user_id)"
                " VALUES (now(), %(token)s, 'client', 3, %(user)s) RETURNING id",
                {"token": place.token, "user": place.user},
            ).fetchone()  # fmt: skip
            assert found is not None
            self._execute(
                connection, "insert an execution",
                "INSERT INTO signal_executions (id, signal_id, agent_id, status)"
                " VALUES (%(id)s, %(signal)s, %(agent)s, 'PENDING')",
                {"id": execution, "signal": found[0], "agent": place.agent},
            )  # fmt: skip
        self.stored["trading_signals"].append(found[0])
        self.stored["signal_executions"].append(execution)

    def _sale(self, connection: psycopg.Connection[Any], place: _Place) -> None:
        swap, transaction = uuid4(), uuid4()
        with connection.transaction():
            self._execute(
                connection, "insert a swap",
                "INSERT INTO agent_historical_swaps (id, agent_id, wallet_address, token_address, token_symbol, amount,"
                " purchase_price, sale_price, change_percent, profit_loss_usd, profit_loss_sol, purchase_time,"
                " sale_time, close_reason) VALUES (%(id)s, %(agent)s, %(wallet)s, %(token)s, 'T', 5, 0.1, 0.2, 100, 1,"
                " 0.5, now() - interval '1 hour', now(), 'manual')",
                {"id": swap, "agent": place.agent, "wallet": place.wallet, "token": place.token},
            )  # fmt: skip
            self._add_transaction(connection, place, transaction, Decimal(1))
        self.stored["agent_historical_swaps"].append(swap)
        self.stored["agent_transactions"].append(transaction)

    def _snapshot(self, connection: psycopg.Connection[Any], place: _Place) -> None:
        snapshot = uuid4()
        self._execute(
            connection, "upsert a snapshot",
            "INSERT INTO agent_balance_snapshots (id, agent_id, wallet_address, snapshot_timestamp,"
            " portfolio_balance_sol, sol_balance, positions_value_sol, unrealized_pnl_sol, updated_at)"
            " VALUES (%(id)s, %(agent)s, %(wallet)s, clock_timestamp(), 1.5, 1, 0.5, 0, now())"
            " ON CONFLICT (agent_id, wallet_address, snapshot_timestamp)"
            " DO UPDATE SET sol_balance = excluded.sol_balance",
            {"id": snapshot, "agent": place.agent, "wallet": place.wallet},
        )  # fmt: skip
        self.stored["agent_balance_snapshots"].append(snapshot)


def _exact(balance: str | Decimal) -> Decimal:
    """Text before the migration that makes it a number, a number after it."""
    return Decimal(balance.strip()) if isinstance(balance, str) else balance
