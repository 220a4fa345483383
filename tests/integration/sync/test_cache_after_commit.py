# Generated from tests/integration/aio/test_cache_after_commit.py by `make sync`: do not edit.
"""A failure of the cache after a COMMIT never reaches the caller: it gets its result, and the cache the rows later."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import psycopg
import pytest

from nexgent_db import Database
from nexgent_db.cache import batch as batch_module
from nexgent_db.cache import codec as codec_module
from nexgent_db.models import SOL_MINT, PriceUpdate, RecordedPrices, ResetResult, TradeResult
from nexgent_db.settings import Settings
from nexgent_db.sync.cache import client as client_module
from tests.integration.sync.factories import TOKEN, Owner, funded_owner, new_owner
from tests.support.builders.purge import purge_agent
from tests.support.faults.faulty_proxy import Fault, FaultyProxy
from tests.support.servers.valkey_server import ValkeyServer

# --- Faults ---------------------------------------------------------------------------------------

Broken = Callable[[pytest.MonkeyPatch, Database, ValkeyServer, FaultyProxy], None]


class Loud(logging.Handler):
    """A log that cannot be written."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("no space left on the device of the log")


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def encoding(monkeypatch: pytest.MonkeyPatch, db: Database, *_: object) -> None:
    for codec in (codec_module.POSITION, codec_module.BALANCE):
        monkeypatch.setattr(codec, "encode", raising(ValueError("a value that is none")))
    monkeypatch.setattr(batch_module, "encode_config", raising(ValueError("a value that is none")))


def batches(monkeypatch: pytest.MonkeyPatch, db: Database, *_: object) -> None:
    for name in ("trade", "change", "position"):
        monkeypatch.setattr(batch_module.Batch, name, raising(RuntimeError("a mistake of ours")))


def packing(monkeypatch: pytest.MonkeyPatch, db: Database, *_: object) -> None:
    monkeypatch.setattr(client_module, "pack_command", raising(ValueError("it cannot be packed")))


def memory(monkeypatch: pytest.MonkeyPatch, db: Database, *_: object) -> None:
    monkeypatch.setattr(client_module, "pack_command", raising(MemoryError()))


def forgetting(monkeypatch: pytest.MonkeyPatch, db: Database, *_: object) -> None:
    cache_client: Any = db.cache._client
    monkeypatch.setattr(cache_client.local.store, "forget", raising(MemoryError()))


def hooks(monkeypatch: pytest.MonkeyPatch, db: Database, *_: object) -> None:
    """The hooks that the client calls around sending and closing."""
    cache_client: Any = db.cache._client
    kind = type(cache_client.servers._new_connection())
    disconnect = kind.disconnect

    def disconnecting(connection: Any, **options: Any) -> None:
        disconnect(connection, **options)
        raise RuntimeError("a hook of the client's failed")

    monkeypatch.setattr(kind, "disconnect", disconnecting)
    monkeypatch.setattr(kind, "send_packed_command", raising(RuntimeError("a hook of the client's failed")))


def threads(monkeypatch: pytest.MonkeyPatch, db: Database, server: ValkeyServer, proxy: FaultyProxy) -> None:
    monkeypatch.setattr(db.cache._recovery._background, "start", raising(RuntimeError("can't start new thread")))
    proxy.fault = Fault(refuse=True)


def logs(monkeypatch: pytest.MonkeyPatch, db: Database, server: ValkeyServer, proxy: FaultyProxy) -> None:
    monkeypatch.setattr(logging.getLogger("nexgent_db.cache"), "handlers", [Loud()])
    proxy.fault = Fault(refuse=True)


def hanging(_: object, db: Database, server: ValkeyServer, proxy: FaultyProxy) -> None:
    server.hang()


def garbage(_: object, db: Database, server: ValkeyServer, proxy: FaultyProxy) -> None:
    proxy.fault = Fault(garble=b":5\r\n")


FAULTS: Final[dict[str, Broken]] = {
    "encoding": encoding,
    "batches": batches,
    "packing": packing,
    "memory": memory,
    "forgetting": forgetting,
    "hooks": hooks,
    "threads": threads,
    "logs": logs,
    "hanging": hanging,
    "garbage": garbage,
}
NOTICED: Final = ("encoding", "batches", "packing", "memory", "forgetting", "hooks", "threads")
"""The faults that are logged at once, with what was committed."""

# --- Writes ---------------------------------------------------------------------------------------

Write = Callable[[Database, Owner], object]


def block(db: Database, owner: Owner) -> TradeResult:
    with db.transaction() as tx:
        tx.agents.set_automated_trading(owner.agent_id, "simulation", False)
        return tx.trades.dca_buy(owner.dca_buy("1", "500"))


def repeated_in_a_block(db: Database, owner: Owner) -> TradeResult:
    order = owner.dca_buy("1", "500")
    db.trades.dca_buy(order)
    with db.transaction() as tx:
        return tx.trades.dca_buy(order)


def recorded_prices(db: Database, owner: Owner) -> RecordedPrices:
    (position,) = db.positions.list_by_agent(owner.agent_id)
    return db.positions.record_prices([PriceUpdate(position_id=position.id, price=Decimal("7"))])


WRITES: Final[dict[str, Write]] = {
    "deposit": lambda db, owner: db.trades.deposit(owner.deposit("5")),
    "withdraw": lambda db, owner: db.trades.withdraw(owner.withdraw("5")),
    "write_off": lambda db, owner: db.trades.write_off(owner.write_off()),
    "prices": recorded_prices,
    "burn": lambda db, owner: db.trades.burn(owner.burn("5")),
    "swap": lambda db, owner: db.trades.swap(owner.swap("5", SOL_MINT, "7", "Another")),
    "buy": lambda db, owner: db.trades.buy(owner.buy("5", "7", "Another")),
    "dca_buy": lambda db, owner: db.trades.dca_buy(owner.dca_buy("1", "500")),
    "take_profit": lambda db, owner: db.trades.take_profit(owner.take_profit("300", "1")),
    "sell": lambda db, owner: db.trades.sell(owner.sell("1000", "2")),
    "reset_wallet": lambda db, owner: db.trades.reset_wallet(owner.reset("50")),
    "a block": block,
    "a repeated trade in a block": repeated_in_a_block,
    "set_automated_trading": lambda db, owner: db.agents.set_automated_trading(owner.agent_id, "simulation", False),
    "a configuration": lambda db, owner: db.agents.update_config(owner.agent_id, {"signals": {"minScore": 4}}),
    "a wallet's deletion": lambda db, owner: db.wallets.delete(owner.agent_id, owner.wallet_address),
    "an agent's deletion": lambda db, owner: db.agents.delete(owner.agent_id),
    "a user's deletion": lambda db, owner: db.users.delete(owner.user_id),
}


def prepared(db: Database, name: str) -> Owner:
    """An agent with a balance and a position; without a ledger for a deletion."""
    if "deletion" in name:
        owner = new_owner(db)
        with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
            psql.execute(
                "INSERT INTO agent_balances (agent_id, wallet_address, token_address, token_symbol, balance)"
                " VALUES (%s, %s, 'a token', 'T', 5)",
                [owner.agent_id, owner.wallet_address],
            )
        while db.cache.maintenance.run_once():
            pass
        return owner
    owner = funded_owner(db)
    db.trades.buy(owner.buy("1", "1000"))
    return owner


@pytest.fixture
def db(fresh_database_url: str, proxy: FaultyProxy) -> Iterator[Database]:
    """A database with a local cache, whose rows a change must drop."""
    settings = replace(Settings.from_url(fresh_database_url), redis_url=proxy.url, local_cache_rows=100)
    with Database(settings) as database:
        yield database


@contextmanager
def broken(fault: str, db: Database, server: ValkeyServer, proxy: FaultyProxy) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        FAULTS[fault](monkeypatch, db, server, proxy)
        try:
            yield
        finally:
            server.wake()
            proxy.fault = Fault()


def assert_read_right(db: Database, owner: Owner) -> None:
    """The read returns the database's rows, from any source."""
    positions = db.positions.list_by_agent(owner.agent_id)
    balances = db.balances.list_by_wallet(owner.agent_id, owner.wallet_address)
    agents = [each.agent for each in db.agents.find_by_user_id(owner.user_id)]
    cache = db.cache
    assert cache.positions_of_agent(owner.agent_id) == positions
    assert cache.positions_of_token(TOKEN) == [row for row in positions if row.token_address == TOKEN]
    assert [cache.position(row.id) for row in positions] == positions
    assert cache.balances_of_wallet(owner.agent_id, owner.wallet_address) == sorted(
        balances, key=lambda row: row.token_address
    )
    for row in balances:
        assert cache.balance(owner.agent_id, owner.wallet_address, row.token_address) == row
    flags = cache.trading_flags(owner.agent_id)
    enabled = [agent.automated_trading_simulation for agent in agents]
    assert (flags.automated_trading_simulation, cache.active_agents()) == (
        any(enabled),
        [agent.id for agent in agents if agent.automated_trading_simulation],
    )
    assert cache.config(owner.agent_id) == db.agents.load_config(owner.agent_id)


def well(db: Database) -> None:
    while db.cache.metrics().state != "closed":
        db.cache._recovery.recover()


def made(result: object) -> list[str]:
    """The ids that the log names."""
    match result:
        case TradeResult(transaction=transaction):
            return [str(transaction.id)]
        case ResetResult(transactions=transactions):
            return [str(transaction.id) for transaction in transactions]
        case RecordedPrices(changed=changed):
            return [str(position.id) for position in changed]
    return []


@pytest.mark.parametrize("fault", FAULTS)
def test_write_is_returned_and_seen_when_cache_fails_at(
    db: Database, server: ValkeyServer, proxy: FaultyProxy, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    for name, write in WRITES.items():
        owner = prepared(db, name)
        well(db)
        assert_read_right(db, owner)  # and is cached from now on
        caplog.clear()
        with broken(fault, db, server, proxy):
            result = write(db, owner)
            assert result, name
            assert_read_right(db, owner)
        logged = caplog.text
        if fault in NOTICED and "block" not in name and (logged or fault != "encoding"):  # a deletion encodes nothing
            assert all(each in logged for each in made(result) or [str(owner.agent_id)]), (name, logged)
        well(db)
        assert_read_right(db, owner)
        hits = db.cache.metrics().hits
        assert_read_right(db, owner)
        assert db.cache.metrics().hits > hits, name
        if "deletion" not in name:
            purge_agent(db.settings.conninfo, owner.agent_id)
        db.users.delete(owner.user_id)
        while db.cache.maintenance.run_once():
            pass


@pytest.mark.parametrize("fault", FAULTS)
def test_new_connection_is_handed_out_while_cache_fails_at(
    db: Database, server: ValkeyServer, proxy: FaultyProxy, fault: str
) -> None:
    owner = prepared(db, "buy")
    well(db)
    with broken(fault, db, server, proxy):
        with psycopg.connect(db.settings.conninfo, autocommit=True) as psql:
            ended = psql.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
            ).fetchall()
        assert ended
        assert_read_right(db, owner)
    well(db)
    assert_read_right(db, owner)


def test_connection_whose_handshake_is_garbled_is_closed(db: Database, proxy: FaultyProxy) -> None:
    """Five numbers instead of its five replies: it is read to the end, and then says nothing of the server."""
    well(db)
    client: Any = db.cache._client
    before = set(client.servers._made)
    proxy.fault = Fault(garble=b":5\r\n" * 5)
    with pytest.raises(TypeError) as failed:  # keeps the connection from being collected
        client.servers.connect()
    made = [connection for connection in client.servers._made if connection not in before]
    assert [connection.is_connected for connection in made] == [False], failed


class GivesUp(BaseException):
    """The caller is cancelled, or a signal ends it."""


@pytest.mark.parametrize("name", WRITES)
def test_caller_cancelled_during_send_reads_nothing_older(
    db: Database, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    owner = prepared(db, name)
    assert_read_right(db, owner)
    cache_client: Any = db.cache._client
    monkeypatch.setattr(cache_client._queue, "send", raising(GivesUp()))  # type: ignore[arg-type]
    with pytest.raises(GivesUp):
        WRITES[name](db, owner)
    assert_read_right(db, owner)
    monkeypatch.undo()
    well(db)
    assert_read_right(db, owner)
