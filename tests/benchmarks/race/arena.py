"""The databases of the race: a large one to read, and one to trade in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg

from nexgent_db import Database
from nexgent_db.models import SOL_MINT, BuyOrder, SellOrder, TakeProfitOrder
from tests.benchmarks.race.contest import Items, Turn
from tests.benchmarks.server import Server
from tests.integration.sync.factories import Owner, new_owner
from tests.support.oracles.state import broken_rules

_SECOND: Final = timedelta(seconds=1)
_BEGIN: Final = datetime(2025, 1, 1, tzinfo=UTC)

REQUESTS: Final = """
CREATE TABLE race_requests (
    id             uuid PRIMARY KEY,
    operation      text NOT NULL,
    content_digest bytea NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now()
)
"""
"""By which contenders that write their own SQL know an order again."""

_TRANSACTIONS: Final = """
INSERT INTO agent_transactions (
    agent_id, wallet_address, transaction_type, transaction_value_usd, transaction_time, routes, input_mint,
    input_symbol, input_amount, input_price, output_mint, output_symbol, output_amount, output_price, slippage,
    price_impact, transaction_hash, swap_payload, is_take_profit, protocol_fee_sol, network_fee_sol
)
SELECT
    %(agent_id)s, %(wallet)s, 'SWAP', n %% 10000 * 0.01, %(begin)s + n * interval '1 second',
    '[{"label": "Raydium", "percent": 100}]', %(sol)s, 'SOL', n * 0.000000001, 1, 'T' || n %% 5000, 'TOKEN',
    n * 1234.567891234, n %% 1000 * 0.000000000001, 0.5, 0.01, md5(n::text) || md5((-n)::text),
    jsonb_build_object('inAmount', n, 'outAmount', n * 7, 'mode', 'ExactIn'), n %% 20 = 0, 0.0001, 0.000005
FROM generate_series(1, %(rows)s) AS n
"""

_SWAPS: Final = """
INSERT INTO agent_historical_swaps (
    agent_id, wallet_address, token_address, token_symbol, amount, purchase_price, sale_price, change_percent,
    profit_loss_usd, profit_loss_sol, purchase_time, sale_time, close_reason
)
SELECT
    %(agent_id)s, %(wallet)s, 'T' || n %% 5000, 'TOKEN', n * 1.000000001, 0.000000012345, 0.00000003, n %% 99 - 50,
    n %% 100 * 0.01, n %% 77 * 0.00000001 - 0.0000002, %(begin)s + n * interval '1 second',
    %(begin)s + n * interval '2 seconds', 'manual'
FROM generate_series(1, %(rows)s) AS n
"""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything; 1 is the race, less only shows that it runs."""

    factor: float = 1.0

    def rows(self, number: int, least: int = 1000) -> int:
        """So many rows, and not fewer than ``least``."""
        return max(least, round(number * self.factor))

    def calls(self, number: int) -> int:
        """So many calls in a turn, at least 2."""
        return max(2, round(number * self.factor))


@dataclass(frozen=True, slots=True)
class Library:
    """The database to read: its URL, and whose rows are there."""

    url: str
    scale: Scale
    twenty: Owner
    """Has twenty positions."""
    thousand: Owner
    """Has a thousand positions."""
    large: Owner
    """Has a million transactions, one a second, and a hundred thousand historical swaps."""
    position_id: UUID
    transactions: int
    swaps: int

    def time_of(self, number: int) -> datetime:
        """The time of the large agent's transaction of this number, from 1."""
        return _BEGIN + number * _SECOND

    def id_at(self, moment: datetime) -> UUID:
        """The id of its transaction at that time."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(
                "SELECT id FROM agent_transactions WHERE agent_id = %s AND transaction_time = %s",
                (self.large.agent_id, moment),
            ).fetchone()
        assert row is not None
        return UUID(str(row[0]))


@contextmanager
def library(server: Server, scale: Scale) -> Iterator[Library]:
    """A database with a million transactions; about half a minute goes into it."""
    transactions, swaps = scale.rows(1_000_000), scale.rows(100_000)
    with server.new_database() as url:
        with Database(url) as db:
            twenty, thousand, large = new_owner(db), new_owner(db), new_owner(db)
            for owner, positions in ((twenty, 20), (thousand, scale.rows(1000, least=20))):
                with db.transaction() as tx:
                    tx.trades.deposit(owner.deposit("1000", SOL_MINT))
                    for number in range(positions):
                        tx.trades.buy(owner.buy("0.123456789", "1234567.654321", f"T{number}", take_profit_levels=4))
            (position,) = db.positions.list_by_agent(twenty.agent_id, limit=1)
        many = {"agent_id": large.agent_id, "wallet": large.wallet_address, "sol": SOL_MINT, "begin": _BEGIN}
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # the references are right: no need to look
            connection.execute(_TRANSACTIONS, {**many, "rows": transactions})
            connection.execute(_SWAPS, {**many, "rows": swaps})
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
        yield Library(url, scale, twenty, thousand, large, position.id, transactions, swaps)


# --- Trades ---------------------------------------------------------------------------------------


class Market:
    """The database to trade in. Each turn has a new wallet with a million SOL, so all begin alike."""

    def __init__(self, url: str, db: Database, scale: Scale) -> None:
        self.url = url
        self.db = db
        self.scale = scale

    def owner(self) -> Owner:
        """A new agent with a funded wallet."""
        owner = new_owner(self.db)
        self.db.trades.deposit(owner.deposit("1000000", SOL_MINT))
        return owner

    def buys(self, calls: int, *, url: str | None = None, writers: int = 0, warm: int = 20) -> Callable[[], Items]:
        """Orders to buy, each of another token: of one wallet, or of as many wallets as writers."""

        def items() -> Items:
            owners = [self.owner() for _ in range(writers or 1)]
            orders = [buy_order(owners[number % len(owners)], f"T{number}") for number in range(warm + calls)]
            return Items(url or self.url, orders[:warm], orders[warm:], owners)

        return items

    def sales(
        self, order: Callable[[Owner, str], Any], calls: int, *, url: str | None = None, warm: int = 20
    ) -> Callable[[], Items]:
        """Orders of positions that are opened first, in one block."""

        def items() -> Items:
            owner = self.owner()
            tokens = [f"T{number}" for number in range(warm + calls)]
            with self.db.transaction() as tx:
                for token in tokens:
                    tx.trades.buy(buy_order(owner, token))
            orders = [order(owner, token) for token in tokens]
            return Items(url or self.url, orders[:warm], orders[warm:], [owner])

        return items

    def bought(self, items: Items, turn: Turn) -> None:
        """There is a position for each order, and the ledger has it."""
        expected = len(items.warm) + len(items.timed)
        self._compare(items, "SELECT count(*) FROM agent_positions WHERE wallet_address = ANY(%s)", expected)
        self._transactions(items, expected)

    def took(self, items: Items, turn: Turn) -> None:
        """Every position has had its take-profit."""
        expected = len(items.warm) + len(items.timed)
        statement = "SELECT sum(take_profit_levels_hit) FROM agent_positions WHERE wallet_address = ANY(%s)"
        self._compare(items, statement, expected)
        self._transactions(items, 2 * expected)

    def sold(self, items: Items, turn: Turn) -> None:
        """No position is left; each has become a historical swap."""
        expected = len(items.warm) + len(items.timed)
        self._compare(items, "SELECT count(*) FROM agent_positions WHERE wallet_address = ANY(%s)", 0)
        self._compare(items, "SELECT count(*) FROM agent_historical_swaps WHERE wallet_address = ANY(%s)", expected)
        self._transactions(items, 2 * expected)

    def _transactions(self, items: Items, swaps: int) -> None:
        statement = "SELECT count(*) FROM agent_transactions WHERE wallet_address = ANY(%s)"
        self._compare(items, statement, swaps + len(items.owner))  # a deposit each

    def _compare(self, items: Items, statement: str, expected: int) -> None:
        with psycopg.connect(self.url) as connection:
            row = connection.execute(statement.encode(), [[one.wallet_address for one in items.owner]]).fetchone()
        assert row is not None
        assert row[0] == expected, f"{row[0]} and not {expected}: {statement}"


@contextmanager
def market(server: Server, scale: Scale) -> Iterator[Market]:
    """A database with statistics of a few trades. At the end the rules of sql/checks.sql hold for all contenders."""
    with server.new_database() as url, Database(url) as db:
        arena = Market(url, db, scale)
        arena.sales(sell_order, scale.calls(500))()
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(REQUESTS)
            connection.execute("ANALYZE")
        yield arena
        broken = broken_rules(url)
        assert not broken, f"the trades of a contender break {broken.keys()}"


def _facts(*, hashed: bool = True) -> dict[str, Any]:
    """What an order says beside its amounts; a signal aside, all that there is to say."""
    return {
        "transaction_time": datetime.now(UTC),
        "transaction_value_usd": "17.25",
        "transaction_hash": uuid4().hex * 2 if hashed else None,
        "protocol_fee_sol": "0.0001",
        "network_fee_sol": "0.000005",
        "slippage": "0.5",
        "price_impact": "0.01",
        "routes": [{"label": "Raydium", "percent": 100}],
        "swap_payload": {"inAmount": "123400000", "outAmount": "1234567654321", "mode": "ExactIn"},
    }


def buy_order(owner: Owner, token: str, *, hashed: bool = True) -> BuyOrder:
    """A purchase for 0.1234 SOL, with the hash of an on-chain transaction or, as in a simulation, without."""
    facts = _facts(hashed=hashed)
    return owner.buy("0.1234", "1234567.654321", token, stop_loss_percentage="30", take_profit_levels=4, **facts)


def take_profit_order(owner: Owner, token: str) -> TakeProfitOrder:
    """A sale of a part of it with a profit."""
    return owner.take_profit("234567.654321", "0.0567", token, levels_hit=1, **_facts())


def sell_order(owner: Owner, token: str) -> SellOrder:
    """The sale of all of it."""
    return owner.sell("1234567.654321", "0.2345", token, close_reason="manual", **_facts())
