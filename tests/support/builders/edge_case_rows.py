"""Edge-case rows of an old database: valid ones that survive every migration, and violations that a migration refuses.

All values are texts, as PostgreSQL reads and prints them. A column or table that a prefix of the legacy migrations
lacks is left out. ``after_the_migrations`` computes, without SQL, what each row must be after the last migration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import Any, Final
from uuid import UUID

import psycopg

from tests.support.servers.prisma import Rows, columns

Values = dict[str, str | None]

_TIME: Final = "2025-12-01 00:00:00+00"
_FIRST: Final = "0001-01-02 00:00:00+00"
_LAST: Final = "9998-12-31 23:59:59.999999+00"


def id_of(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


@dataclass(frozen=True)
class Row:
    """A row of ``table`` that exists after ``since`` to ``until`` legacy migrations."""

    table: str
    values: Values
    since: int = 1
    until: int = 18


@dataclass(frozen=True)
class Violation:
    """A row with a value that ``rule`` refuses. ``repair`` is a valid value; None means that the row is deleted.

    ``key`` finds the row when its id does not.
    """

    row: Row
    column: str
    rule: str
    repair: str | None
    key: str = ""

    @property
    def condition(self) -> str:
        return self.key or f"id = '{self.row.values['id']}'"


# --- Values that every row needs -----------------------------------------------------------------

USERS: Final = [id_of(n) for n in (1, 2, 3)]
AGENTS: Final = [id_of(n) for n in (11, 12, 13, 14)]


def user(number: int, email: str, **values: str | None) -> Row:
    return Row("users", {"id": id_of(number), "email": email, **values})


def agent(number: int, **values: str | None) -> Row:
    return Row(
        "agents",
        {"id": id_of(number), "user_id": USERS[0], "name": f"agent {number}", "updated_at": _TIME, **values},
    )


def wallet(address: str, agent_id: str, kind: str) -> Row:
    return Row(
        "agent_wallets",
        {"wallet_address": address, "agent_id": agent_id, "wallet_type": kind, "updated_at": _TIME},
    )


def balance(number: int, text: str, **values: str | None) -> Row:
    base = {"id": id_of(number), "agent_id": AGENTS[0], "wallet_address": "w1", "token_address": f"token {number}"}
    return Row("agent_balances", {**base, "token_symbol": "T", "balance": text, "last_updated": _TIME, **values})


def signal(number: int, **values: str | None) -> Row:
    base = {"id": str(number), "updated_at": _TIME, "token_address": "t", "signal_type": "BUY"}
    return Row("trading_signals", {**base, "signal_strength": "1", **values})


def execution(number: int, signal_id: str, status: str) -> Row:
    base = {"id": id_of(number), "agent_id": AGENTS[0], "signal_id": signal_id, "transaction_id": id_of(201)}
    return Row("signal_executions", {**base, "status": status})


def transaction(number: int, since: int = 1, until: int = 18, **values: str | None) -> Row:
    base = {
        "id": id_of(number),
        "agent_id": AGENTS[0],
        "wallet_address": "w1",
        "transaction_type": "SWAP",
        "transaction_value_usd": "1.5",
        "transaction_time": _TIME,
        "created_at": _TIME,
        "updated_at": _TIME,
    }
    return Row("agent_transactions", {**base, **values}, since, until)


def position(number: int, since: int = 1, until: int = 18, **values: str | None) -> Row:
    base = {
        "id": id_of(number),
        "agent_id": AGENTS[0],
        "wallet_address": "w1",
        "token_address": f"token {number}",
        "token_symbol": "T",
        "purchase_transaction_id": id_of(number + 1000),
        "purchase_price": "0.00000003",
        "purchase_amount": "1000.5",
        "updated_at": _TIME,
    }
    return Row("agent_positions", {**base, **values}, since, until)


def swap(number: int, **values: str | None) -> Row:
    base = {
        "id": id_of(number),
        "agent_id": AGENTS[0],
        "wallet_address": "w1",
        "token_address": "t",
        "token_symbol": "",
        "amount": "5",
        "purchase_price": "0",
        "sale_price": "NaN",
        "change_percent": "-999999.9999",
        "profit_loss_usd": "NaN",
        "profit_loss_sol": "-999999999999.99999999",
        "purchase_time": _TIME,
        "sale_time": _TIME,
    }
    return Row("agent_historical_swaps", {**base, **values})


def snapshot(number: int, agent_id: str, address: str, time: str) -> Row:
    base = {"id": id_of(number), "agent_id": agent_id, "wallet_address": address, "snapshot_timestamp": time}
    amounts = {"portfolio_balance_sol": "NaN", "sol_balance": "-1", "positions_value_sol": "0.00000001"}
    return Row(
        "agent_balance_snapshots",
        {**base, **amounts, "unrealized_pnl_sol": "-999999999999", "updated_at": _TIME},
        since=4,
    )


# --- Those that survive --------------------------------------------------------------------------

BALANCES: Final = [
    "1e-8",
    " 5",
    "0",
    "-0",
    "+3",
    ".5",
    "7.",
    "\t1.50\n",
    "1.23456789012345678e+19",
    "99999999999999999999.999999999999999999",
    "0.000000000000000001",
    "1.500000000000000000000",
    "0" * 500 + "1",
]
"""Every text is a number that numeric(38,18) holds exactly."""

_HASHES: Final = [
    ("w1", "h"),
    ("w1", "h"),
    ("w1", "h"),
    ("w2", "h"),
    ("w1", "H"),
    (None, "h"),
    (None, "h"),
    ("w1", None),
]
_WIDE: Final = "999999999999.999999999999999999"

FIT: Final = [
    user(1, "Ada@Example.org", password_hash="x" * 60, locked_until=_LAST),
    user(2, "bob@example.org", failed_login_attempts="-1"),
    user(3, ""),
    agent(11, trading_config=None, automated_trading="false"),
    agent(12, trading_config="null", automated_trading="true"),
    agent(13, trading_config='{"a": [1.00000000000000000000001, null], "\\u00e4": "\\ud83d\\ude00"}', name="😀\n"),
    agent(14, trading_config="{}", trading_mode="live", automated_trading="false"),
    Row("agents", agent(15, automated_trading_simulation="false").values, since=11),
    wallet("w1", AGENTS[0], "simulation"),
    wallet("w2", AGENTS[0], "live"),
    wallet("w3", AGENTS[1], "simulation"),
    *(balance(100 + n, text) for n, text in enumerate(BALANCES)),
    signal(1, price_sol="0.00000001", signal_strength="100", symbol=None, user_id=USERS[1]),
    signal(2, price_sol=None, activation_reason="", source="\\"),
    *(
        transaction(
            201 + n,
            wallet_address=address,
            transaction_hash=hash_,
            transaction_time=f"2025-12-0{9 - n} 00:00:00+00",
            signal_id="1",
        )
        for n, (address, hash_) in enumerate(_HASHES)
    ),
    *(transaction(220 + n, transaction_hash="same time") for n in range(3)),
    transaction(
        230,
        input_amount="999999999999.99999999",
        output_amount="0.00000001",
        input_price="0",
        fees="999999999999",
        transaction_value_usd="NaN",
        slippage="NaN",
        price_impact="-999999.9999",
        routes="null",
        swap_payload="[1e-30]",
        protocol_fee_sol="0.00000001",
    ),
    transaction(231, since=6, input_amount=_WIDE, output_price="0.000000000000000001", wallet_address=None),
    *(transaction(number + 1000) for number in [*range(301, 350), 391, 392, 393]),
    position(301, peak_price="NaN", current_stop_loss_percentage="-999.99", dca_transaction_ids=None),
    position(302, purchase_price="0.00000005", purchase_amount="0.1", dca_transaction_ids=f"{{NULL,{id_of(205)}}}"),
    position(303, purchase_price="0", dca_transaction_ids="{}", take_profit_transaction_ids="{NULL}"),
    position(
        308, take_profit_transaction_ids='{A0EEBC999C0B4EF8BB6D6BB9BD380A11,"{a0eebc99-9c0b4ef8bb6d6bb9bd380a11}"}'
    ),
    position(304, since=7, purchase_price=_WIDE, total_invested_sol="0.00000001", lowest_price="NaN"),
    position(305, since=14, remaining_amount="333.333333333333333333", total_invested_sol="7.00000001", dca_count="1"),
    position(306, since=14, remaining_amount="0", total_invested_sol="0.3", realized_profit_sol="-0.1"),
    position(307, since=14, remaining_amount=None, realized_profit_sol="NaN", moon_bag_amount="1000.5"),
    swap(401, close_reason=None),
    swap(
        402,
        purchase_time="0001-01-02 00:00:00+00",
        sale_time="9998-12-31 23:59:59.999999+00",
        wallet_address=None,
        close_reason="stale_trade",
    ),
    execution(501, "1", "PENDING"),
    snapshot(601, AGENTS[0], "w1", "2025-12-01 00:00:00+00"),
    snapshot(602, AGENTS[0], "w2", "2025-12-01 01:00:00+00"),
    Row(
        "api_keys",
        {
            "id": id_of(701),
            "user_id": USERS[0],
            "name": "",
            "key_hash": "secret hash",
            "key_prefix": "nex_abcd",
            "scopes": "{NULL,full_access}",
        },
        since=12,
    ),
]

# --- Those that a migration refuses --------------------------------------------------------------

_STORE: Final = "20261123090100_store_balances_as_numeric"
_OTHERS: Final[dict[str, Any]] = {"agent_id": AGENTS[1]}  # w1 is the first agent's


def _balances() -> Iterator[Violation]:
    texts = ["", "NaN", "Infinity", "five", "1e-19", "1.2345678901234567890123e+22", "1e20", "0x10", "1,5", "1e9999"]
    for n, text in enumerate([*texts, "１", "\u00a05", "1 2", "\\N", "9" * 200_000]):
        yield Violation(balance(150 + n, text), "balance", _STORE, "1e-18")
    yield Violation(balance(170, "-1e-18"), "balance", "agent_balances_balance_check", "0")


_BEYOND: Final = [
    "infinity",
    "-infinity",
    "0044-03-15 00:00:00+00 BC",
    "0001-01-01 23:59:59+00",
    "9999-01-01 00:00:00+00",
]


def _times() -> Iterator[Violation]:
    """Times that Python's calendar does not have, in each table."""
    for n, time in enumerate(_BEYOND):
        yield Violation(
            user(21 + n, f"{n}@beyond.example", locked_until=time), "locked_until", "users_times_check", None
        )
    rows = [
        (agent(31, updated_at=_BEYOND[1]), "updated_at"),
        (balance(791, "1", last_updated=_BEYOND[0]), "last_updated"),
        (signal(91, created_at=_BEYOND[2]), "created_at"),
        (transaction(391, transaction_time=_BEYOND[0]), "transaction_time"),
        (swap(491, purchase_time=_BEYOND[1]), "purchase_time"),
        (snapshot(691, AGENTS[0], "w1", _BEYOND[0]), "snapshot_timestamp"),
        (position(391, last_stop_loss_update=_BEYOND[0]), "last_stop_loss_update"),
        (position(392, since=7, last_dca_time=_BEYOND[1]), "last_dca_time"),
        (position(393, since=13, last_take_profit_time=_BEYOND[2]), "last_take_profit_time"),
    ]
    for row, column in rows:
        key = f"id = {row.values['id']}" if row.table == "trading_signals" else ""
        repair = "2025-12-03 00:00:00+00" if row.table == "agent_balance_snapshots" else _TIME
        yield Violation(row, column, f"{row.table}_times_check", repair, key)


def _columns(
    make: Any, first: int, rule: str, values: dict[str, list[str]], repair: str, **given: Any
) -> Iterator[Violation]:
    for column, texts in values.items():
        for text in texts:
            yield Violation(make(first, **{**given, column: text}), column, rule, repair)
            first += 1


_MORE_THAN_BOUGHT: Final = {"remaining_amount": ["-0.1", "1000.6", "NaN"]}
_NO_UUIDS: Final = [
    "{x}",
    '{""}',
    f"{{{id_of(205)},{id_of(206)}0}}",
    f"{{' {id_of(205)}'}}",
    f'{{"{{{id_of(205)}"}}',
    "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a1-1}",
]
_MORE_THAN_REMAINS: Final = {"moon_bag_amount": ["-0.1", "8", "NaN"]}

VIOLATIONS: Final = [
    *_times(),
    Violation(user(1, "Ada@Example.org"), "email", "users_lower_email_key", "ADA@example.com"),
    Violation(user(4, "ADA@EXAMPLE.ORG"), "email", "users_lower_email_key", None),
    Violation(user(5, "ada@example.org"), "email", "users_lower_email_key", "ada@example.org"),
    Violation(agent(16, trading_mode="Live"), "trading_mode", "agents_trading_mode_check", "live"),
    Violation(
        wallet("it's", AGENTS[1], "cold"),
        "wallet_type",
        "agent_wallets_wallet_type_check",
        "live",
        key="wallet_address = 'it''s'",
    ),
    *_balances(),
    Violation(balance(171, "1", **_OTHERS), "wallet_address", "agent_balances_agent_id_wallet_address_fkey", "w3"),
    Violation(
        signal(3, signal_strength="0"), "signal_strength", "trading_signals_signal_strength_check", "1", key="id = 3"
    ),
    Violation(
        signal(4, signal_strength="101"), "signal_strength", "trading_signals_signal_strength_check", "1", key="id = 4"
    ),
    Violation(execution(502, "2", "pending"), "status", "signal_executions_status_check", "PENDING"),
    *_columns(transaction, 240, "agent_transactions_input_amount_check", {"input_amount": ["0", "NaN"]}, "1"),
    *_columns(transaction, 242, "agent_transactions_output_amount_check", {"output_amount": ["-1", "NaN"]}, "1"),
    *_columns(
        transaction,
        244,
        "agent_transactions_prices_check",
        {"input_price": ["-1", "NaN"], "output_price": ["-1", "NaN"]},
        "0",
    ),
    *_columns(transaction, 248, "agent_transactions_fees_check", {"fees": ["-1", "NaN"]}, "0"),
    *_columns(
        transaction,
        250,
        "agent_transactions_fees_check",
        {"protocol_fee_sol": ["-1", "NaN"], "network_fee_sol": ["-1", "NaN"]},
        "0",
        since=17,
    ),
    Violation(transaction(254, **_OTHERS), "wallet_address", "agent_transactions_agent_id_wallet_address_fkey", "w3"),
    *_columns(
        position,
        310,
        "agent_positions_purchase_check",
        {"purchase_price": ["-1", "NaN"], "purchase_amount": ["0", "-1", "NaN"]},
        "1",
    ),
    *_columns(position, 315, "agent_positions_purchase_check", {"total_invested_sol": ["-1", "NaN"]}, "1", since=7),
    *_columns(position, 317, "agent_positions_remaining_amount_check", _MORE_THAN_BOUGHT, "1000.5", since=13),
    *_columns(
        position, 320, "agent_positions_moon_bag_amount_check", _MORE_THAN_REMAINS, "7", since=13, remaining_amount="7"
    ),
    *_columns(position, 323, "agent_positions_counters_check", {"dca_count": ["-1"]}, "0", since=7),
    *_columns(position, 324, "agent_positions_counters_check", {"take_profit_levels_hit": ["-1"]}, "0", since=13),
    *_columns(
        position,
        325,
        "agent_positions_counters_check",
        {"tp_batch_start_level": ["-1"], "total_take_profit_levels": ["-1"]},
        "0",
        since=16,
    ),
    Violation(
        position(327, until=6, purchase_price="50000", purchase_amount="20000000"),
        "purchase_price",
        "20251220230728_add_dca_fields_to_positions",
        "49999.99999999",
    ),
    Violation(
        position(328, since=14, remaining_amount="1", realized_profit_sol="NaN"),
        "realized_profit_sol",
        "20261123091210_fill_position_proceeds",
        "-1",
    ),
    *_columns(
        position,
        330,
        "20261123090300_widen_position_numbers",
        {"dca_transaction_ids": _NO_UUIDS},
        "{}",
        since=7,
    ),
    *_columns(
        position,
        340,
        "20261123090300_widen_position_numbers",
        {"take_profit_transaction_ids": _NO_UUIDS},
        "{}",
        since=13,
    ),
    Violation(position(329, **_OTHERS), "wallet_address", "agent_positions_agent_id_wallet_address_fkey", "w3"),
    *_columns(swap, 403, "agent_historical_swaps_amount_check", {"amount": ["0", "NaN"]}, "1"),
    Violation(
        swap(405, sale_time="2025-11-30 00:00:00+00"),
        "sale_time",
        "agent_historical_swaps_sale_time_check",
        _TIME,
    ),
    Violation(
        Row("agent_historical_swaps", swap(406, close_reason="").values, since=8),
        "close_reason",
        "agent_historical_swaps_close_reason_check",
        "manual",
    ),
    Violation(swap(407, **_OTHERS), "wallet_address", "agent_historical_swaps_agent_id_wallet_address_fkey", "w3"),
    Violation(
        Row("agent_balance_snapshots", snapshot(603, AGENTS[1], "w1", "2025-12-01 02:00:00+00").values, since=9),
        "wallet_address",
        "agent_balance_snapshots_agent_id_wallet_address_fkey",
        "w3",
    ),
]


def insert(conn: psycopg.Connection[Any], count: int, row: Row) -> None:
    """Insert the row into a database with ``count`` legacy migrations, if it exists there."""
    there = columns(conn).get(row.table)
    if there is None or not row.since <= count <= row.until:
        return
    values = {name: text for name, text in row.values.items() if name in there}
    places = ", ".join(["%s"] * len(values))
    conn.execute(
        f"INSERT INTO {row.table} ({', '.join(values)}) VALUES ({places}) ON CONFLICT DO NOTHING".encode(),
        list(values.values()),
    )


# --- The expected rows ---------------------------------------------------------------------------

_NEW: Final[dict[str, Values]] = {
    "agents": {"automated_trading_simulation": "true", "automated_trading_live": "true"},
    "trading_signals": {"user_id": None},
    "agent_transactions": {
        "swap_payload": None,
        "is_take_profit": "false",
        "protocol_fee_sol": None,
        "network_fee_sol": None,
        "transaction_leg": "0",
        "realized_profit_sol": None,
        "settled_dust": None,
    },
    "agent_positions": {
        "dca_count": "0",
        "dca_transaction_ids": "{}",
        "last_dca_time": None,
        "take_profit_levels_hit": "0",
        "take_profit_transaction_ids": "{}",
        "last_take_profit_time": None,
        "moon_bag_activated": "false",
        "moon_bag_amount": None,
        "realized_profit_sol": "0",
        "tp_batch_start_level": "0",
        "total_take_profit_levels": None,
        "proceeds_sol": "0",
    },
    "agent_historical_swaps": {"close_reason": None},
    "api_keys": {"expires_at": None, "revoked_at": None, "last_used_at": None},
}
"""What a column that is not there yet begins with, where that is the same for every row."""


@dataclass(frozen=True)
class _Position:
    row: Values
    price: Decimal = field(init=False)
    amount: Decimal = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "price", Decimal(str(self.row["purchase_price"])))
        object.__setattr__(self, "amount", Decimal(str(self.row["purchase_amount"])))

    def invested(self) -> str:
        return str((self.price * self.amount).quantize(Decimal("1e-8"), ROUND_HALF_UP))

    def proceeds(self) -> str:
        remaining = Decimal(str(self.row["remaining_amount"]))
        if remaining >= self.amount:
            return "0"
        cost = Fraction(self.amount - remaining) * Fraction(str(self.row["total_invested_sol"]))
        scaled = cost / Fraction(self.amount) * 10**18
        rounded = (2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)
        return str(Decimal(str(self.row["realized_profit_sol"])) + Decimal(rounded).scaleb(-18))


def after_the_migrations(before: dict[str, Rows]) -> dict[str, Rows]:
    """Every row of ours as it must be at the end; numbers still as they were written."""
    after = dict[str, Rows]()
    with localcontext(prec=60):
        for table, rows in before.items():
            if table.startswith(("_", "yoyo")) or (table == "agent_balance_snapshots" and not _has_wallet(rows)):
                continue
            after[table] = [{**_NEW.get(table, {}), **row} for row in rows]
        for row in after["agents"]:
            if (flag := row.pop("automated_trading", None)) is not None:
                row |= {"automated_trading_simulation": flag, "automated_trading_live": flag}
        for row in after["trading_signals"]:
            row.pop("price_sol", None)
        for row in after["agent_positions"]:
            row.setdefault("lowest_price", row["purchase_price"])
            row.setdefault("total_invested_sol", _Position(row).invested())
            row["remaining_amount"] = row.get("remaining_amount") or row["purchase_amount"]
            row["proceeds_sol"] = _Position(row).proceeds()
            for name in ("dca_transaction_ids", "take_profit_transaction_ids"):
                row[name] = _uuids(row[name] or "{}")
    profits = dict[object, Decimal]()
    for row in after["agent_historical_swaps"]:
        if row["profit_loss_sol"] != "NaN":
            profit = Decimal(str(row["profit_loss_sol"]))
            profits[row["sale_transaction_id"]] = profits.get(row["sale_transaction_id"], Decimal(0)) + profit
    for row in after["agent_transactions"]:
        if row["id"] in profits:
            row["realized_profit_sol"] = str(profits[row["id"]])
    legs = dict[tuple[str, str], int]()
    for row in sorted(after["agent_transactions"], key=lambda row: [str(row[name]) for name in _LEG_ORDER]):
        if row["wallet_address"] is not None and row["transaction_hash"] is not None:
            of = row["wallet_address"], row["transaction_hash"]
            legs[of] = legs.get(of, -1) + 1
            row["transaction_leg"] = str(legs[of])
    return after


_LEG_ORDER: Final = ("transaction_time", "created_at", "id")


def _uuids(array: str) -> str:
    """An array of texts as one of uuids: each as PostgreSQL prints it."""
    texts = re.findall(r'"[^"]*"|[^,]+', array[1:-1])
    return f"{{{','.join(text if text == 'NULL' else str(UUID(text.strip(chr(34)))) for text in texts)}}}"


def _has_wallet(rows: Rows) -> bool:
    return any("wallet_address" in row for row in rows)
