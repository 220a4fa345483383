"""Compares the database with what the callers of trades were answered: each count must be 0.

It reads the tables raw and shares no line with nexgent_db: the rules stand here again, in exact Fractions. Every order
of a record carries a number of its own as its token's symbol, which the ledger keeps: an order that was executed twice
under two ids shows as two transactions with one number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

import psycopg
import redis
from psycopg.rows import dict_row

from tests.support.oracles.cache_oracle import differences

SOL: Final = "So11111111111111111111111111111111111111112"
COUNTS: Final = (
    "lost",
    "doubled",
    "phantom",
    "balance differs from ledger",
    "position differs",
    "close without swap",
    "wrong cache entry",
    "orphaned cache entry",
    "stale read",
)


@dataclass(frozen=True)
class Intent:
    """One order that its caller wanted executed once; ``refused``: never, for a reason that its caller knows."""

    trade_id: UUID
    kind: str
    number: int
    refused: bool = False
    closes: bool = False
    """Does it close a position, so that a historical swap must name it?"""


@dataclass
class Record:
    """What the caller of one wallet knows: all its orders, and what they leave. Exact, and without the package.

    One that ``forgets`` keeps no orders, only what they leave, and takes no more memory with time.
    """

    wallet_address: str
    intents: dict[UUID, Intent] = field(default_factory=dict)
    balances: dict[str, Fraction] = field(default_factory=dict)
    positions: dict[str, tuple[UUID, Fraction]] = field(default_factory=dict)
    """Of each token with an open position: the purchase's transaction, and what remains."""
    knows_positions: bool = True
    """One of several callers of a wallet does not."""
    forgets: bool = False

    def add(self, intent: Intent, changes: Iterable[tuple[str, Fraction]] = ()) -> None:
        """An order that will be sent until it is answered."""
        if not self.forgets:
            self.intents[intent.trade_id] = intent
        for token, change in changes:
            self.balances[token] = self.balances.get(token, Fraction(0)) + change


@dataclass
class Findings:
    """How often each rule was broken, with an example of each."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, count: str, example: str, times: int = 1) -> None:
        """Note a broken rule."""
        assert count in COUNTS, count
        if times > 0:
            self.counts[count] += times
            self.examples.setdefault(count, example)

    def lines(self) -> list[str]:
        """One line for each count above 0."""
        return [f"{self.counts[name]} {name}, such as {self.examples[name]}" for name in COUNTS if self.counts[name]]

    def __str__(self) -> str:
        return ", ".join(f"{name} {self.counts[name]}" for name in COUNTS)


def examine(database: psycopg.Connection[Any], records: Iterable[Record], findings: Findings) -> None:
    """Compare every record with the database, in one snapshot."""
    database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    with database.cursor(row_factory=dict_row) as cursor:
        for record in records:
            _Wallet(cursor, record, findings).examine()
    database.rollback()


def examine_cache(cache: redis.Redis, database: psycopg.Connection[Any], prefix: str, findings: Findings) -> None:
    """Compare every entry of the cache with the database; only while neither changes."""
    for line in differences(cache, database, prefix):
        findings.add("orphaned cache entry" if ": an orphan" in line else "wrong cache entry", line)


class _Wallet:
    """The rows of one wallet beside its record."""

    def __init__(self, cursor: psycopg.Cursor[dict[str, Any]], record: Record, findings: Findings) -> None:
        self._record = record
        self._findings = findings

        def rows(table: bytes) -> list[dict[str, Any]]:
            query = b"SELECT * FROM " + table + b" WHERE wallet_address = %s"
            return cursor.execute(query, [record.wallet_address]).fetchall()

        self._requests = rows(b"trade_requests")
        self._ledger = rows(b"agent_transactions")
        self._balances = {row["token_address"]: Fraction(row["balance"]) for row in rows(b"agent_balances")}
        self._positions = rows(b"agent_positions")
        self._swaps = rows(b"agent_historical_swaps")
        self._of_resets = {one for row in self._requests for one in row["transaction_ids"] or ()}

    def examine(self) -> None:
        self._compare_balances()
        if self._record.knows_positions:
            self._compare_positions()
        if not self._record.forgets:
            self._lost()
            self._doubled_and_phantom()
            self._compare_swaps()

    def _lost(self) -> None:
        requested = {row["id"] for row in self._requests}
        entered = {row["id"] for row in self._ledger}
        for intent in self._record.intents.values():
            there = intent.trade_id in requested and (intent.kind == "reset_wallet" or intent.trade_id in entered)
            if not intent.refused and not there:
                self._findings.add("lost", str(intent))

    def _doubled_and_phantom(self) -> None:
        numbers = {str(intent.number): intent for intent in self._record.intents.values() if not intent.refused}
        entries: dict[str, int] = defaultdict(int)
        for row in self._ledger:
            if row["id"] in self._of_resets:
                continue
            number = row["output_symbol"] if row["input_symbol"] in ("SOL", None) else row["input_symbol"]
            if number in numbers:
                entries[number] += 1
            else:
                self._findings.add("phantom", f"{self._record.wallet_address}: transaction {row['id']} of {number}")
        requests = Counter(row["id"] for row in self._requests)
        for trade_id, times in requests.items():
            intent = self._record.intents.get(trade_id)
            if intent is None or intent.refused:
                self._findings.add("phantom", f"{self._record.wallet_address}: request {trade_id}: {intent}")
            else:
                self._findings.add("doubled", f"request {trade_id}", times - 1)
        for number, times in entries.items():
            self._findings.add("doubled", f"{self._record.wallet_address}: {numbers[number]}", times - 1)

    def _compare_balances(self) -> None:
        totals: dict[str, Fraction] = defaultdict(Fraction)
        for row in self._ledger:
            for token, change in effects(row):
                totals[token] += change
        for token in totals.keys() | self._balances.keys() | self._record.balances.keys():
            balance, total = self._balances.get(token, Fraction(0)), totals.get(token, Fraction(0))
            expected = self._record.balances.get(token, Fraction(0))
            if not balance == total == expected:
                text = f"{self._record.wallet_address} has {float(balance)} {token}, ledger {float(total)}"
                self._findings.add("balance differs from ledger", f"{text}, {float(expected)} by its caller's account")

    def _compare_positions(self) -> None:
        expected = self._record.positions
        found = {
            row["token_address"]: (row["purchase_transaction_id"], Fraction(row["remaining_amount"]))
            for row in self._positions
        }
        for token in found.keys() | expected.keys():
            if found.get(token) != expected.get(token):
                self._findings.add("position differs", f"{token}: {found.get(token)}, not {expected.get(token)}")

    def _compare_swaps(self) -> None:
        sales = Counter(row["sale_transaction_id"] for row in self._swaps)
        closes = {intent.trade_id for intent in self._record.intents.values() if intent.closes and not intent.refused}
        open_purchases = {row["purchase_transaction_id"] for row in self._positions}
        for trade_id in closes:
            if sales[trade_id] != 1:
                self._findings.add("close without swap", f"{trade_id} closed a position, {sales[trade_id]} swaps")
        for row in self._swaps:
            if row["sale_transaction_id"] not in closes or row["purchase_transaction_id"] in open_purchases:
                self._findings.add("close without swap", f"swap {row['id']} of a position that was not closed")


def effects(row: dict[str, Any]) -> list[tuple[str, Fraction]]:
    """The changes of balances by one row of the ledger."""
    fees = sum((Fraction(row[name] or 0) for name in ("protocol_fee_sol", "network_fee_sol")), Fraction(0))
    given = Fraction(row["input_amount"])
    changes = [(SOL, -fees), (row["input_mint"], given if row["transaction_type"] == "DEPOSIT" else -given)]
    if row["transaction_type"] == "SWAP":
        changes.append((row["output_mint"], Fraction(row["output_amount"])))
    return changes
