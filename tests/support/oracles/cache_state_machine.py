"""A state machine that looks for stale reads: random work and random faults, in random order.

Two processes trade through caches of their own. A third one, without a cache, stands for a process that dies after its
COMMIT, before it notifies Redis. A thread of the first two may be paused before it writes to the cache while the others
go on: so two writers finish in either order, and a reader stores late what it has read.
The background probe for a lost Redis is a step of the machine here: nothing depends on the clock.

cache_faults.py has the faults of Redis, cache_model.py the states that each read may return. After maintenance
cache_oracle.py compares the cache with the database; at the end the package compares them too, and must find what
cache_mismatches.py puts there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from itertools import count
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from nexgent_db import Transaction
from nexgent_db.errors import LedgerProtected
from nexgent_db.models import SOL_MINT
from nexgent_db.models.cache import CacheDifference
from tests.integration.sync.factories import Owner
from tests.support.faults.cache_faults import ATTEMPTS, PICK, PROCESS, Faults, Flight
from tests.support.faults.cache_mismatches import alter
from tests.support.faults.pause_points import PausedThread
from tests.support.oracles.cache_model import PREFIX, TOKENS, Changed, Order, Process, Undone, refusals
from tests.support.oracles.cache_oracle import differences, missing


def _delayed(began: Any, by_ms: int) -> Any:
    return began._replace(ms=began.ms - by_ms)


STATEMENT: Final = st.sampled_from(
    [
        *("peak", "balance", "no position", "no balance", "no ledger", "put back", "put back", "truncate"),
        *("agent", "token of balance", "token of position", "id of position", "id of agent", "wallet"),
    ]
)
AMOUNT: Final = st.sampled_from(["0.000000000000000001", "1", "7.25", "1000"])
TRADE: Final = st.tuples(
    st.sampled_from(["deposit", "withdraw", "buy", "buy", "dca_buy", "take_profit", "sell", "sell", "reset_wallet"]),
    PICK,
    st.sampled_from(TOKENS),
    AMOUNT,
)


class CacheStateMachine(Faults, RuleBasedStateMachine):
    """See the module. ``world`` is given by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[Order] = []
        self.removed: list[tuple[str, dict[str, Any]]] = []
        self.numbers = count(1)

    # --- What is there ------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        """Two agents of one user with a wallet each; nothing is cached, and every process has found Redis."""
        psql = self.world.psql
        psql.execute("SELECT purge_agent_v1(id, 'a test') FROM agents")
        psql.execute("DELETE FROM users")
        psql.execute("DELETE FROM cache_outbox")
        self.owners: list[Owner] = []
        user = uuid4()
        psql.execute("INSERT INTO users (id, email) VALUES (%s, %s)", [user, f"{user}@example.org"])
        for _ in range(2):
            self._new_agent(user)
        self.world.client.flushall()
        for process in self.world.processes:
            process.sure = {}
            process.fail()
        self._everybody_finds_redis()
        self._observe()
        self._everybody_is_sure()

    def _new_agent(self, user: UUID) -> None:
        owner = Owner(user, uuid4(), f"W{uuid4().hex}")
        psql = self.world.psql
        with psql.pipeline():
            psql.execute("INSERT INTO agents (id, user_id, name) VALUES (%s, %s, 'a')", [owner.agent_id, user])
            psql.execute(
                "INSERT INTO agent_wallets (wallet_address, agent_id, wallet_type) VALUES (%s, %s, 'simulation')",
                [owner.wallet_address, owner.agent_id],
            )
            psql.execute(
                "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
                " VALUES (%s, %s, %s, 'SOL', 1000)",
                [owner.agent_id, owner.wallet_address, SOL_MINT],
            )
        self.owners.append(owner)

    def _owner(self, pick: int) -> Owner:
        return self.owners[pick % len(self.owners)]

    # --- Work -------------------------------------------------------------------------------------------

    def _order(self, trade: tuple[str, int, str, str]) -> Order:
        name, pick, token, amount = trade
        owner = self._owner(pick)
        match name:
            case "deposit" | "withdraw":
                order: Any = getattr(owner, name)(amount, token if pick % 2 else SOL_MINT)
            case "buy" | "dca_buy":
                order = getattr(owner, name)("1", amount, token)
            case "reset_wallet":
                order = owner.reset("100" if pick % 2 else None)
            case _:  # of a position that is there, when there is one
                held = self._now("position")
                sold = amount
                if held:
                    position = held[pick % len(held)]
                    token = position["token_address"]
                    owner = next((one for one in self.owners if one.agent_id == position["agent_id"]), owner)
                    left = position["remaining_amount"]
                    sold = str(left if name == "sell" or left < 1 else Decimal("0.5"))
                order = getattr(owner, name)(sold, "0.5", token)
        return Order(name, order)

    def _do(self, process: Process, work: Callable[[], Any]) -> Changed:
        """Let the process do it; it then relies on the result, and every process does once Redis has answered it."""
        calls, openings = process.cache_client.calls, process.cache_client.breaker.openings
        with refusals():
            work()
        changed = self._observe()
        self._is_sure(process, changed)
        breaker = process.cache_client.breaker
        if process.cache_client.calls > calls and breaker.openings == openings and breaker.may_read:
            self.sent.append((process.cache_client, openings, changed))
        return changed

    def _look_again(self, process: Process, changed: Changed, kind: int) -> None:
        """The process must see its latest changes, row by row and in one of the lists."""
        for key in changed:
            self._read(process, key, 0)
        if changed:
            self._read(process, next(iter(changed)), kind)

    @rule(process=PROCESS, trade=TRADE, kind=PICK)
    def trade(self, process: int, trade: tuple[str, int, str, str], kind: int) -> None:
        """An auto-committed trade."""
        one = self.world.processes[process]
        order = self._order(trade)
        order.changed = self._do(one, lambda: _make(one.db.trades, order))
        self.orders.append(order)
        self._look_again(one, order.changed, kind)
        self._tick(flush=kind % 2 == 0)

    @rule(trade=TRADE)
    def trade_and_die(self, trade: tuple[str, int, str, str]) -> None:
        """A trade of a process that is killed between its COMMIT and the cache."""
        order = self._order(trade)
        with refusals():
            _make(self.world.mortal.trades, order)
        order.changed = self._observe()
        self.orders.append(order)
        self._tick()

    @rule(process=PROCESS, pick=PICK, in_transaction=st.booleans(), kind=PICK)
    def repeat(self, process: int, pick: int, in_transaction: bool, kind: int) -> None:
        """Either process repeats an order, as after a lost answer, and reads its rows after the acknowledgement."""
        if not self.orders:
            return
        one = self.world.processes[process]
        order = self.orders[-1 - pick % len(self.orders)]

        def again() -> None:
            if in_transaction:
                with one.db.transaction() as tx:
                    _make(tx.trades, order)
            else:
                _make(one.db.trades, order)

        before = dict(order.changed)
        acknowledged = False

        def work() -> None:
            nonlocal acknowledged
            again()
            acknowledged = True

        changed = self._do(one, work)
        order.changed |= changed
        if acknowledged:
            self._is_sure(one, before)
            self._look_again(one, before | changed, kind)
        self._tick(flush=kind % 2 == 0)

    @rule(
        process=PROCESS,
        steps=st.lists(
            st.tuples(st.sampled_from(["trade", "undone", "flag", "config", "repeat"]), TRADE), min_size=1, max_size=3
        ),
        undone=st.sampled_from([False, False, False, True]),
        kind=PICK,
    )
    def block(self, process: int, steps: list[tuple[str, Any]], undone: bool, kind: int) -> None:
        """A transaction of several changes; some are in savepoints that are undone, or all of it is undone."""
        one = self.world.processes[process]
        orders = [self._order(trade) for _, trade in steps]
        repeated: Changed = {}

        def work() -> None:
            with one.db.transaction() as tx:
                for (what, (_, pick, _, _)), order in zip(steps, orders, strict=True):
                    self._step(tx, what, pick, order, repeated)
                if undone:
                    raise Undone

        acknowledged = False

        def all_of_it() -> None:
            nonlocal acknowledged
            work()
            acknowledged = True

        changed = self._do(one, all_of_it)
        if acknowledged:
            self._is_sure(one, repeated)
        self.orders += [order for (what, _), order in zip(steps, orders, strict=True) if what == "trade"]
        self._look_again(one, changed | (repeated if acknowledged else {}), kind)
        self._tick(flush=kind % 2 == 0)

    def _step(self, tx: Transaction, what: str, pick: int, order: Order, repeated: Changed) -> None:
        agent = self._owner(pick).agent_id
        match what:
            case "flag":
                tx.agents.set_automated_trading(agent, "simulation", bool(pick % 2))
            case "config":
                tx.agents.update_config(agent, {"signals": {"minScore": 1 + pick % 5}})
            case "undone":
                with refusals(), tx.transaction() as inner:
                    _make(inner.trades, order)
                    raise Undone
            case "repeat" if self.orders:
                earlier = self.orders[-1 - pick % len(self.orders)]
                with tx.transaction() as inner:
                    _make(inner.trades, earlier)
                repeated.update(earlier.changed)
            case _:
                with tx.transaction() as inner:
                    _make(inner.trades, order)

    @rule(
        process=PROCESS,
        what=st.sampled_from(["flag", "live", "config", "address", "wallet", "agent", "user"]),
        pick=PICK,
        kind=PICK,
    )
    def change(self, process: int, what: str, pick: int, kind: int) -> None:
        """A change by a repository, cascades included."""
        one = self.world.processes[process]
        owner = self._owner(pick)

        def work() -> None:
            with suppress(LedgerProtected):  # nothing is deleted then
                change()

        def change() -> None:
            match what:
                case "flag":
                    one.db.agents.set_automated_trading(owner.agent_id, "simulation", bool(pick % 2))
                case "live":
                    one.db.agents.update(owner.agent_id, trading_mode="live" if pick % 2 else "simulation")
                case "config":
                    one.db.agents.update_config(owner.agent_id, {"dca": {"maxDCACount": 1 + pick}})
                case "address":
                    new = replace(owner, wallet_address=f"W{uuid4().hex}")
                    if one.db.wallets.change_address(owner.agent_id, owner.wallet_address, new.wallet_address):
                        self.owners[self.owners.index(owner)] = new
                case "wallet":
                    one.db.wallets.delete(owner.agent_id, owner.wallet_address)
                case "agent":
                    one.db.agents.delete(owner.agent_id)
                case "user" if pick == 0:
                    one.db.users.delete(owner.user_id)

        self._look_again(one, self._do(one, work), kind)
        if what in ("wallet", "agent", "user"):
            self._replace_lost()
        self._tick(flush=kind % 2 == 0)

    def _replace_lost(self) -> None:
        """Replace lost owners, so that trades go on."""
        psql = self.world.psql
        wallets = {
            (row["agent_id"], row["wallet_address"])
            for row in psql.execute("SELECT agent_id, wallet_address FROM agent_wallets").fetchall()
        }
        for owner in list(self.owners):
            if (owner.agent_id, owner.wallet_address) in wallets:
                continue
            self.owners.remove(owner)
            psql.execute(
                "INSERT INTO users (id, email) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [owner.user_id, f"{owner.user_id}@example.org"],
            )
            self._new_agent(owner.user_id)
            self._observe()

    # --- Who does not use the package ---------------------------------------------------------------------

    @rule(what=STATEMENT, pick=PICK, other=PICK)
    def psql(self, what: str, pick: int, other: int) -> None:
        """One statement by hand."""
        psql = self.world.psql
        positions, balances, owner = self._now("position"), self._now("balance"), self._owner(pick)
        position = positions[pick % len(positions)] if positions else None
        balance = balances[pick % len(balances)] if balances else None
        try:
            match what:
                case "peak" if position:
                    psql.execute(
                        "UPDATE agent_positions SET peak_price = %s WHERE id = %s", [next(self.numbers), position["id"]]
                    )
                case "balance" if balance:
                    psql.execute(
                        "UPDATE agent_balances SET balance = balance + %s WHERE id = %s",
                        [next(self.numbers), balance["id"]],
                    )
                case "no position" if position:
                    psql.execute("DELETE FROM agent_positions WHERE id = %s", [position["id"]])
                    self.removed.append(("agent_positions", position))
                case "no balance" if balance:
                    psql.execute("DELETE FROM agent_balances WHERE id = %s", [balance["id"]])
                    self.removed.append(("agent_balances", balance))
                case "no ledger":
                    psql.execute("SELECT purge_agent_v1(%s, 'a test')", [owner.agent_id])
                    self._replace_lost()
                case "agent" if position:
                    to = self._owner(other)
                    psql.execute(
                        "UPDATE agent_positions SET agent_id = %s, wallet_address = %s WHERE id = %s",
                        [to.agent_id, to.wallet_address, position["id"]],
                    )
                case "token of balance" if balance:
                    psql.execute(
                        "UPDATE agent_balances SET token_address = %s WHERE id = %s",
                        [TOKENS[other % len(TOKENS)], balance["id"]],
                    )
                case "token of position" if position:
                    psql.execute(
                        "UPDATE agent_positions SET token_address = %s WHERE id = %s",
                        [TOKENS[other % len(TOKENS)], position["id"]],
                    )
                case "id of position" if position:
                    psql.execute("UPDATE agent_positions SET id = %s WHERE id = %s", [uuid4(), position["id"]])
                case "id of agent":
                    self._rename(owner, replace(owner, agent_id=uuid4()))
                case "wallet":
                    self._rename(owner, replace(owner, wallet_address=f"W{uuid4().hex}"))
                case "put back" if self.removed:
                    table, row = self.removed.pop(pick % len(self.removed))
                    names = [name for name in row if name != "version"]
                    psql.execute(
                        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})".encode(),
                        [row[name] for name in names],
                    )
                case "truncate" if other % 4 == 0 and not any(flight.kind == "relay" for flight in self.flights):
                    psql.execute("TRUNCATE agent_positions" if pick % 2 else "TRUNCATE agent_balances")
        except (psycopg.errors.IntegrityError, psycopg.errors.NumericValueOutOfRange):
            pass
        self._observe()
        self._tick()

    def _rename(self, owner: Owner, new: Owner) -> None:
        if new.agent_id != owner.agent_id:
            self.world.psql.execute("UPDATE agents SET id = %s WHERE id = %s", [new.agent_id, owner.agent_id])
        else:
            self.world.psql.execute(
                "SELECT change_wallet_address_v1(%s, %s, %s)",
                [owner.agent_id, owner.wallet_address, new.wallet_address],
            )
        self.owners[self.owners.index(owner)] = new

    # --- Readers ------------------------------------------------------------------------------------------

    @rule(process=PROCESS, pick=PICK, kind=PICK, at_least=st.booleans())
    def read(self, process: int, pick: int, kind: int, at_least: bool) -> None:
        """A read by either process, with a known version or without."""
        keys = list(self.states)
        self._read(self.world.processes[process], keys[-1 - pick % len(keys)], kind, at_least)
        self._tick()

    @rule(process=PROCESS, pick=PICK, kind=PICK)
    def read_slowly(self, process: int, pick: int, kind: int) -> None:
        """A reader that has read rows from the database and is paused before it stores them in the cache."""
        one = self.world.processes[process]
        keys = list(self.states)
        read, judge = self._reader(one, keys[-1 - pick % len(keys)], kind, at_least=False)
        known = self._known(one)
        self._hold(Flight(one, PausedThread(one.gate, read, _delayed), "read", {}, lambda result: judge(result, known)))
        self._tick()

    # --- Threads that are overtaken -------------------------------------------------------------------------

    @rule(process=PROCESS, trade=TRADE)
    def trade_slowly(self, process: int, trade: tuple[str, int, str, str]) -> None:
        """A committed trade, paused before it writes to the cache."""
        one = self.world.processes[process]
        order = self._order(trade)

        def work() -> None:
            with refusals():
                _make(one.db.trades, order)

        held = PausedThread(one.gate, work, _delayed)
        order.changed = self._observe()
        self.orders.append(order)
        self._hold(Flight(one, held, "trade", order.changed))
        self._tick()

    @rule(process=PROCESS)
    def relay_slowly(self, process: int) -> None:
        """Maintenance that has taken changes from the outbox and is paused before it applies them."""
        one = self.world.processes[process]
        if not any(flight.kind == "relay" and flight.process is one for flight in self.flights):
            self._hold(Flight(one, PausedThread(one.gate, one.cache.maintenance.run_once, _delayed), "relay", {}))
        self._tick()

    def _hold(self, flight: Flight) -> None:
        if flight.held.stopped:
            self.flights.append(flight)
        else:
            self._landed(flight)

    def _landed(self, flight: Flight) -> None:
        if flight.held.error is not None:
            raise flight.held.error
        self._is_sure(flight.process, flight.changed)
        if flight.judge is not None:
            flight.judge(flight.held.result)

    @rule(pick=PICK, then=st.sampled_from(["go on", "go on", "a minute later", "almost", "die"]), kind=PICK)
    def overtaken(self, pick: int, then: str, kind: int) -> None:
        """One of the paused threads goes on, perhaps as if a minute had passed; or it ends where it is."""
        if not self.flights:
            return
        flight = self.flights.pop(pick % len(self.flights))
        if then == "die":
            flight.held.die()
        else:
            self._go_on(flight, {"go on": 0, "almost": 59_000, "a minute later": 61_000}[then])
            for key in flight.changed:
                self._read(flight.process, key, kind)
        self._tick()

    def _go_on(self, flight: Flight, delay_ms: int = 0) -> None:
        flight.held.delay_ms += delay_ms
        flight.held.go_on()
        self._landed(flight)

    # --- What must be so --------------------------------------------------------------------------------------

    @rule()
    def maintain(self) -> None:
        """Maintenance applies all changes: the cache then equals the database exactly."""
        self._repair()
        for flight in [flight for flight in self.flights if flight.kind == "relay"]:
            self.flights.remove(flight)
            self._go_on(flight)
        for _ in range(ATTEMPTS):
            for process in self.world.processes:
                process.cache.maintenance._next_check = (
                    0.0  # a second has passed: it sees whether the server is still the same
                )
                process.cache.maintenance.run_once()
            self._everybody_finds_redis()
            rows = self.world.psql.execute("SELECT version FROM cache_outbox").fetchall()
            if not rows:
                break
            self._emptying_is_given_up()
        assert rows == [], f"maintenance finds no end: {rows}"
        self._everybody_is_sure()
        found = differences(self.world.client, self.world.psql, PREFIX)
        assert found == [], found

    def teardown(self) -> None:
        """At the end all rows are cached again, and the cache is correct."""
        failing = sys.exception() is not None
        try:
            if not failing:
                self._end()
        finally:
            self._repair()
            for flight in self.flights:
                flight.held.die()

    def _end(self) -> None:
        self._repair()
        while self.flights:
            self._go_on(self.flights.pop())
        self.maintain()
        self._five_minutes_pass()
        for _ in range(ATTEMPTS):
            openings = self._openings()
            for number, (key, states) in enumerate(list(self.states.items())):
                for kind in range(3 if states[-1] is not None else 1):
                    self._read(self.world.processes[number % 2], key, kind)
            if self._openings() == openings:
                break
            self.maintain()  # on a busy machine Redis may not have answered in time
        found = differences(self.world.client, self.world.psql, PREFIX)
        assert found == [], found
        absent = missing(self.world.client, self.world.psql, PREFIX)
        assert absent == [], absent
        self._compare()

    def _compare(self) -> None:
        """The package's own comparison finds no difference; then it finds and repairs the one that is put there."""
        cache = self.world.processes[0].cache
        reported: list[tuple[str, str]] = []

        def report(difference: CacheDifference) -> None:
            reported.append((difference.kind, difference.key))

        compared = cache.admin.verify(report, patience_s=0)
        assert (reported, compared.differences) == ([], 0), reported
        altered = alter(self.world.client, PREFIX, sum(map(len, self.states.values())))
        repaired = cache.admin.repair(report, patience_s=0)
        assert (reported, repaired.repaired) == (altered, len(altered)), f"reported {reported} instead of {altered}"
        found = differences(self.world.client, self.world.psql, PREFIX)
        assert found == [], found


def _make(trades: Any, order: Order) -> None:
    getattr(trades, order.name)(order.order)
