"""A database for one user: no method reads or changes rows of other users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio

from nexgent_db import AsyncDatabase
from nexgent_db.errors import (
    BlockMisuse,
    ConnectionLost,
    InvalidInput,
    LedgerProtected,
    NexgentError,
    PermissionDenied,
    TenantNotIsolated,
    WalletNotFound,
    WalletTaken,
)
from nexgent_db.models import AgentFilter, BalanceSnapshotOrder, PositionFilter, SignalOrder
from nexgent_db.settings import Settings
from tests.integration.aio.caches import catch_up
from tests.integration.aio.factories import Owner, new_owner
from tests.support.servers.roles import RoledDatabase
from tests.unit.test_inventory import offered

NOW: Final = datetime.now(UTC)
LATER: Final = NOW + timedelta(days=1)
NOBODY: Final = UUID(int=0)


@dataclass(frozen=True)
class User:
    """A user with one of everything."""

    owner: Owner
    email: str
    position_id: UUID
    transaction_id: UUID
    swap_id: UUID
    trade_id: UUID
    signal_id: int
    unclaimed_id: int
    execution_id: UUID
    key_id: UUID
    secret: str
    key_hash: str

    @property
    def marks(self) -> list[str]:
        """Values that only this user's rows have."""
        own = (self.owner.agent_id, self.owner.wallet_address, self.email, self.position_id, self.execution_id)
        return [str(mark) for mark in (*own, self.transaction_id, self.swap_id, self.key_id, self.token, self.trade_id)]

    @property
    def token(self) -> str:
        return f"T{self.owner.wallet_address[1:]}"


async def new_user(db: AsyncDatabase) -> User:
    owner = await new_owner(db)
    user = await db.users.find_by_id(owner.user_id)
    assert user is not None
    for _ in range(5):
        await db.users.record_failed_login(user.id)
    await db.user_cells.create(user.id, "cell_1")
    token = f"T{owner.wallet_address[1:]}"
    await db.trades.deposit(owner.deposit("100"))
    bought = await db.trades.buy(owner.buy("10", "10", f"closed{token}"[:44]))
    sold = await db.trades.sell(owner.sell("10", "11", f"closed{token}"[:44]))
    order = owner.buy("10", "1100", token)
    made = await db.trades.buy(order)
    await db.trades.take_profit(owner.take_profit("100", "2", token, moon_bag_amount="10"))
    assert bought.position is not None
    assert made.position is not None
    assert sold.swap is not None
    suggested = SignalOrder(user_id=user.id, token_address=token, signal_type="BUY", signal_strength=50)
    signal, unclaimed = await db.signals.create(suggested), await db.signals.create(suggested)
    execution = await db.signal_executions.create_pending(signal.id, owner.agent_id)
    assert execution is not None
    await db.balance_snapshots.upsert(snapshot(owner))
    key = await db.api_keys.create(user.id, "a key")
    return User(
        owner=owner,
        email=user.email,
        position_id=made.position.id,
        transaction_id=made.transaction.id,
        swap_id=sold.swap.id,
        trade_id=order.trade_id,
        signal_id=signal.id,
        unclaimed_id=unclaimed.id,
        execution_id=execution.id,
        key_id=key.key.id,
        secret=key.secret.get_secret_value(),
        key_hash=key.key.key_hash,
    )


def snapshot(owner: Owner) -> BalanceSnapshotOrder:
    return BalanceSnapshotOrder(
        agent_id=owner.agent_id,
        wallet_address=owner.wallet_address,
        snapshot_timestamp=NOW.replace(hour=0, minute=0, second=0, microsecond=0),
        portfolio_balance_sol=Decimal(2),
        sol_balance=Decimal(1),
        positions_value_sol=Decimal(1),
        unrealized_pnl_sol=Decimal(0),
    )


@pytest_asyncio.fixture
async def app(roled: RoledDatabase) -> AsyncIterator[AsyncDatabase]:
    """The service, for all users."""
    async with AsyncDatabase(roled.url_of("app")) as database:
        yield database


@pytest_asyncio.fixture
async def me(app: AsyncDatabase) -> User:
    return await new_user(app)


@pytest_asyncio.fixture
async def other(app: AsyncDatabase) -> User:
    return await new_user(app)


@pytest_asyncio.fixture(params=["opened for me", "of the service's database"])
async def mine(roled: RoledDatabase, me: User, request: pytest.FixtureRequest) -> AsyncIterator[AsyncDatabase]:
    """My database, over a single connection."""
    settings = replace(Settings.from_url(roled.url_of("app")), pool_max_size=1)
    if request.param == "opened for me":
        async with AsyncDatabase(settings, tenant=me.owner.user_id) as database:
            yield database
    else:
        async with AsyncDatabase(settings) as service:
            await service.agents.find_by_id(me.owner.agent_id)
            yield service.for_tenant(me.owner.user_id)


# --- Every method -------------------------------------------------------------------------------

Arguments = Callable[[User], tuple[Any, ...]]

# With what each method would reach the rows of a user.
METHODS: Final[dict[tuple[str, str], Arguments]] = {
    ("agents", "create"): lambda u: (u.owner.user_id, "one more"),
    ("agents", "delete"): lambda u: (u.owner.agent_id,),
    ("agents", "find_by_id"): lambda u: (u.owner.agent_id,),
    ("agents", "find_by_user_id"): lambda u: (u.owner.user_id,),
    ("agents", "find_default_wallet"): lambda u: (u.owner.agent_id,),
    ("agents", "find_wallet_by_address"): lambda u: (u.owner.wallet_address,),
    ("agents", "find_wallet_by_agent_id"): lambda u: (u.owner.agent_id, "simulation"),
    ("agents", "list_all"): lambda _: (),
    ("agents", "load_config"): lambda u: (u.owner.agent_id,),
    ("agents", "page_all"): lambda _: (AgentFilter(), 9999),
    ("agents", "page_by_user_id"): lambda u: (u.owner.user_id,),
    ("agents", "save_config"): lambda u: (u.owner.agent_id, None),
    ("agents", "set_automated_trading"): lambda u: (u.owner.agent_id, "live", False),
    ("agents", "stream_all"): lambda _: (),
    ("agents", "update"): lambda u: (u.owner.agent_id, "renamed"),
    ("agents", "update_config"): lambda u: (u.owner.agent_id, {"stopLoss": {"enabled": False}}),
    ("api_keys", "create"): lambda u: (u.owner.user_id, "one more"),
    ("api_keys", "find_by_id"): lambda u: (u.key_id,),
    ("api_keys", "page_by_user"): lambda u: (u.owner.user_id,),
    ("api_keys", "revoke"): lambda u: (u.owner.user_id, u.key_id),
    ("api_keys", "verify"): lambda u: (u.secret,),
    ("api_keys", "verify_with_email"): lambda u: (u.secret,),
    ("balance_snapshots", "create_many"): lambda u: ([snapshot(u.owner)],),
    ("balance_snapshots", "delete_older_than"): lambda _: (LATER, 9999),
    ("balance_snapshots", "find_latest"): lambda u: (u.owner.agent_id, u.owner.wallet_address),
    ("balance_snapshots", "list_daily"): lambda u: (u.owner.agent_id, u.owner.wallet_address),
    ("balance_snapshots", "list_hourly"): lambda u: (u.owner.agent_id, u.owner.wallet_address, NOW - timedelta(days=2)),
    ("balance_snapshots", "upsert"): lambda u: (snapshot(u.owner),),
    ("balances", "find_by_wallet_and_token"): lambda u: (u.owner.wallet_address, u.token),
    ("balances", "list_ledger_differences"): lambda u: (u.owner.wallet_address,),
    ("balances", "list_by_wallets"): lambda u: (u.token, [u.owner.wallet_address]),
    ("balances", "page_by_wallet"): lambda u: (u.owner.agent_id, u.owner.wallet_address),
    ("historical_swaps", "count_by_agent"): lambda u: (u.owner.agent_id,),
    ("historical_swaps", "find_by_id"): lambda u: (u.swap_id,),
    ("historical_swaps", "page_by_agent"): lambda u: (u.owner.agent_id,),
    ("historical_swaps", "page_with_signal"): lambda u: (u.owner.agent_id,),
    ("historical_swaps", "stream_by_agent"): lambda u: (u.owner.agent_id,),
    ("historical_swaps", "stream_with_signal"): lambda u: (u.owner.agent_id,),
    ("historical_swaps", "total_by_wallet"): lambda u: (u.owner.agent_id, u.owner.wallet_address),
    ("performance", "summarise"): lambda u: (u.owner.agent_id,),
    ("positions", "find_by_id"): lambda u: (u.position_id,),
    ("positions", "find_by_wallet_and_token"): lambda u: (u.owner.agent_id, u.owner.wallet_address, u.token),
    ("positions", "list_by_agent"): lambda u: (u.owner.agent_id,),
    ("positions", "list_moon_bags"): lambda u: (u.owner.agent_id,),
    ("positions", "page_with_purchase"): lambda u: (u.owner.agent_id,),
    ("positions", "list_with_take_profit_activity"): lambda u: (u.owner.agent_id,),
    ("positions", "page_by_token"): lambda u: (u.token,),
    ("positions", "page_by_user"): lambda u: (u.owner.user_id,),
    ("positions", "page_open"): lambda _: (),
    ("positions", "page_open_tokens"): lambda _: (),
    ("positions", "stream_open"): lambda _: (),
    ("positions", "stream_open_tokens"): lambda _: (),
    ("positions", "stream_with_purchase"): lambda u: (u.owner.agent_id,),
    ("positions", "summarise_take_profits"): lambda u: (u.owner.agent_id,),
    ("positions", "total_by_wallet"): lambda u: (u.owner.agent_id, u.owner.wallet_address),
    ("signal_executions", "create_pending"): lambda u: (u.unclaimed_id, u.owner.agent_id),
    ("signal_executions", "find"): lambda u: (u.signal_id, u.owner.agent_id),
    ("signal_executions", "list_by_signal"): lambda u: (u.signal_id,),
    ("signal_executions", "list_stuck_pending"): lambda _: (LATER, 9999),
    ("signal_executions", "mark_executed"): lambda u: (u.execution_id, u.transaction_id),
    ("signal_executions", "mark_failed"): lambda u: (u.execution_id, "broken"),
    ("signal_executions", "mark_skipped"): lambda u: (u.execution_id, "no"),
    ("signals", "count_by_user"): lambda u: (u.owner.user_id,),
    ("signals", "create"): lambda u: (
        SignalOrder(user_id=u.owner.user_id, token_address="T", signal_type="BUY", signal_strength=1),
    ),
    ("signals", "create_many_of"): lambda u: (
        u.owner.user_id,
        [SignalOrder(user_id=u.owner.user_id, token_address="T", signal_type="BUY", signal_strength=1)],
    ),
    ("signals", "delete"): lambda u: (u.signal_id,),
    ("signals", "find_by_id"): lambda u: (u.signal_id,),
    ("signals", "list_eligible_agents"): lambda u: (u.unclaimed_id,),
    ("signals", "page_by_user"): lambda u: (u.owner.user_id,),
    ("signals", "stream_by_user"): lambda u: (u.owner.user_id,),
    ("signals", "update"): lambda u: (u.signal_id, "another token"),
    ("trade_requests", "prune"): lambda u: (datetime(2999, 1, 1, tzinfo=UTC), 1000),
    ("trade_requests", "list_by_ids"): lambda u: ([u.trade_id],),
    ("trades", "burn"): lambda u: (u.owner.burn("1"),),
    ("trades", "buy"): lambda u: (u.owner.buy("1", "1", "another token"),),
    ("trades", "dca_buy"): lambda u: (u.owner.dca_buy("1", "1", u.token),),
    ("trades", "execute_many"): lambda u: ([u.owner.deposit("1")],),
    ("trades", "deposit"): lambda u: (u.owner.deposit("1"),),
    ("trades", "reset_wallet"): lambda u: (u.owner.reset(),),
    ("trades", "sell"): lambda u: (u.owner.sell("1000", "1", u.token),),
    ("trades", "write_off"): lambda u: (u.owner.write_off(u.token),),
    ("trades", "swap"): lambda u: (u.owner.swap("1", u.token, "1", "another token"),),
    ("trades", "take_profit"): lambda u: (u.owner.take_profit("1", "1", u.token),),
    ("trades", "withdraw"): lambda u: (u.owner.withdraw("1"),),
    ("transactions", "count_by_agent"): lambda u: (u.owner.agent_id,),
    ("transactions", "find_by_id"): lambda u: (u.transaction_id,),
    ("transactions", "list_by_ids"): lambda u: ([u.transaction_id],),
    ("transactions", "page_by_agent"): lambda u: (u.owner.agent_id,),
    ("transactions", "stream_by_agent"): lambda u: (u.owner.agent_id,),
    ("users", "begin_login"): lambda u: (u.owner.user_id,),
    ("user_cells", "count_per_cell"): lambda _: (9999,),
    ("user_cells", "create"): lambda u: (u.owner.user_id, "cell_2"),
    ("user_cells", "delete"): lambda u: (u.owner.user_id, "cell_1"),
    ("user_cells", "find_by_user_id"): lambda u: (u.owner.user_id,),
    ("user_cells", "list_by_cell"): lambda _: ("cell_1", 9999),
    ("user_cells", "update"): lambda u: (u.owner.user_id, "cell_1", "cell_2"),
    ("users", "create"): lambda _: (f"{uuid4()}@example.org",),
    ("users", "delete"): lambda u: (u.owner.user_id,),
    ("users", "find_by_email"): lambda u: (u.email.upper(),),
    ("users", "find_by_id"): lambda u: (u.owner.user_id,),
    ("users", "find_first"): lambda _: (),
    ("users", "is_locked"): lambda u: (u.owner.user_id,),
    ("users", "page"): lambda _: (9999,),
    ("users", "record_failed_login"): lambda u: (u.owner.user_id,),
    ("users", "reset_failed_logins"): lambda u: (u.owner.user_id,),
    ("users", "update"): lambda u: (u.owner.user_id, f"{uuid4()}@example.org"),
    ("wallets", "change_address"): lambda u: (u.owner.agent_id, u.owner.wallet_address, f"C{uuid4().hex}"),
    ("wallets", "create"): lambda u: (f"L{uuid4().hex}", u.owner.agent_id, "live"),
    ("wallets", "delete"): lambda u: (u.owner.agent_id, u.owner.wallet_address),
    ("wallets", "list_by_agent"): lambda u: (u.owner.agent_id,),
    ("wallets", "find_with_agent"): lambda u: (u.owner.wallet_address,),
    ("wallets", "page_all"): lambda _: (None, 9999),
}
OF_USER: Final = {
    "users": "id",
    "api_keys": "user_id",
    "agents": "user_id",
    "trading_signals": "user_id",
    "user_cells": "user_id",
}
OF_AGENT: Final = (
    "agent_wallets",
    "agent_balances",
    "agent_balance_snapshots",
    "agent_positions",
    "agent_transactions",
    "agent_historical_swaps",
    "signal_executions",
    "trade_requests",
)


async def rows_of(connection: Any, user: User) -> list[tuple[str, str]]:
    """Every row of the user, as text."""
    parts = [f"SELECT '{table}', t::text FROM {table} AS t WHERE {key} = $1" for table, key in OF_USER.items()]
    parts += [f"SELECT '{table}', t::text FROM {table} AS t WHERE agent_id = $2" for table in OF_AGENT]
    cursor = psycopg.AsyncRawCursor(connection)
    await cursor.execute(" UNION ALL ".join(parts) + " ORDER BY 1, 2", [user.owner.user_id, user.owner.agent_id])
    return [(str(table), str(row)) for table, row in await cursor.fetchall()]


async def outcome_of(held: Any, method: tuple[str, str], user: User) -> str:
    """The call's result or error, as text."""
    try:
        called = getattr(getattr(held, method[0]), method[1])
        if method[1].startswith("stream_"):
            result = [row async for row in called(*METHODS[method](user))]
        else:
            result = await called(*METHODS[method](user))
    except NexgentError as error:
        return f"{type(error).__name__}: {error}"
    return str(result)


class Undone(Exception):
    """Leaves a transaction, so that it is rolled back."""


def test_every_method_is_covered() -> None:
    assert set(METHODS) == set(offered())


async def test_no_method_reads_or_changes_rows_of_other_user(
    roled: RoledDatabase, app: AsyncDatabase, other: User, mine: AsyncDatabase, me: User
) -> None:
    """The other user is the earlier one: the first user is one of others."""
    leaks: dict[str, str] = {}
    harmless: list[str] = []
    async with await psycopg.AsyncConnection.connect(roled.url, autocommit=True) as superuser:
        before = await rows_of(superuser, other)
        for method in METHODS:
            alone = await outcome_of(mine, method, other)
            in_transaction = ""
            try:
                async with mine.transaction() as tx:
                    in_transaction = await outcome_of(tx, method, other)
                    raise Undone
            except Undone:
                pass
            sent = [str(argument) for argument in METHODS[method](other)]
            for outcome in (alone, in_transaction):
                if any(mark in outcome for mark in other.marks if not any(mark in each for each in sent)):
                    leaks[".".join(method)] = outcome
            if await rows_of(superuser, other) != before:
                leaks[".".join(method)] = "changed the other's rows"
            # The same call without a tenant reaches them: what is held back is there to be had.
            try:
                async with app.transaction() as tx:
                    reached = await outcome_of(tx, method, other)
                    if reached == alone and await rows_of(tx._connection, other) == before:
                        harmless.append(".".join(method))
                    raise Undone
            except Undone:
                pass
    assert leaks == {}
    # Nothing comes back while the ledger is right, and while the account is locked.
    assert harmless == ["balances.list_ledger_differences", "users.begin_login"]


async def test_tenant_has_full_access_to_own_rows(app: AsyncDatabase, mine: AsyncDatabase, me: User) -> None:
    assert await mine.positions.list_by_agent(me.owner.agent_id) == await app.positions.list_by_agent(me.owner.agent_id)
    assert (await mine.trades.buy(me.owner.buy("1", "5", "another token"))).position is not None
    async with mine.transaction() as tx:
        await tx.trades.deposit(me.owner.deposit("1"))
        wallet = await tx.wallets.create(f"L{uuid4().hex}", me.owner.agent_id, "live")
    assert await mine.wallets.list_by_agent(me.owner.agent_id) == await app.wallets.list_by_agent(me.owner.agent_id)
    assert len([row async for row in mine.transactions.stream_by_agent(me.owner.agent_id)]) == 7
    found = await mine.run_transaction(lambda tx: tx.agents.find_wallet_by_address(wallet.wallet_address))
    assert found == wallet
    with pytest.raises(LedgerProtected):
        await mine.agents.delete(me.owner.agent_id)
    without_ledger = await mine.agents.create(me.owner.user_id, "another")
    assert await mine.agents.delete(without_ledger.id) == 1


async def test_lists_of_all_agents_are_complete_for_tenant(
    app: AsyncDatabase, mine: AsyncDatabase, me: User, other: User
) -> None:
    """The lists of all users hold the tenant's own rows, all of them, and no others."""
    own = await app.positions.list_by_user(me.owner.user_id)
    everybody = await app.positions.list_open(limit=10_000)
    assert [position.id for position in own] == [me.position_id]
    assert {me.position_id, other.position_id} <= {position.id for position in everybody}
    assert await mine.positions.list_open() == own
    assert [position async for position in mine.positions.stream_open()] == own
    assert [token.token_address for token in await mine.positions.list_open_tokens()] == [me.token]
    assert await mine.positions.list_by_token(me.token) == own
    assert await mine.positions.list_by_token(other.token) == []
    assert await mine.cache.positions_of_token(me.token.lower()) == own
    assert await mine.cache.positions_of_token(other.token.lower()) == []
    assert await mine.positions.list_by_user(me.owner.user_id) == own
    assert await mine.positions.list_by_user(other.owner.user_id) == []
    of_both = PositionFilter(agent_ids=[me.owner.agent_id, other.owner.agent_id])
    assert await mine.positions.list_open(of_both) == own
    assert len(await app.positions.list_open(of_both)) == 2


async def test_tenant_changes_address_of_own_wallet_only(
    roled: RoledDatabase, app: AsyncDatabase, mine: AsyncDatabase, me: User, other: User
) -> None:
    async with await psycopg.AsyncConnection.connect(roled.url, autocommit=True) as superuser:
        before = await rows_of(superuser, other)
        for agent_id in (me.owner.agent_id, other.owner.agent_id):
            assert await mine.wallets.change_address(agent_id, other.owner.wallet_address, f"C{uuid4().hex}") is None
        with pytest.raises(WalletTaken):
            await mine.wallets.change_address(me.owner.agent_id, me.owner.wallet_address, other.owner.wallet_address)
        assert await rows_of(superuser, other) == before
    moved = replace(me.owner, wallet_address=f"C{uuid4().hex}")
    changed = await mine.wallets.change_address(me.owner.agent_id, me.owner.wallet_address, moved.wallet_address)
    assert [changed] == await app.wallets.list_by_agent(me.owner.agent_id)
    assert (await mine.trades.sell(moved.sell("1000", "1", me.token))).swap is not None


async def test_trade_with_wallet_of_other_user_finds_no_wallet(mine: AsyncDatabase, me: User, other: User) -> None:
    with pytest.raises(WalletNotFound):
        await mine.trades.deposit(other.owner.deposit("1"))
    stolen = replace(me.owner, wallet_address=other.owner.wallet_address)
    with pytest.raises(WalletNotFound):
        await mine.trades.withdraw(stolen.withdraw("1"))


async def test_rows_cannot_be_moved_to_other_user(mine: AsyncDatabase, other: User) -> None:
    with pytest.raises(PermissionDenied):
        await mine.agents.create(other.owner.user_id, "a gift")


# --- Connections that served another user -------------------------------------------------------


async def test_shared_connection_shows_each_user_own_rows(mine: AsyncDatabase, me: User, other: User) -> None:
    """The users take turns on one connection, and so share its prepared statements."""
    theirs = mine.for_tenant(other.owner.user_id)
    for _ in range(5):
        for database, sees, hidden in ((mine, me, other), (theirs, other, me)):
            assert [p.id for p in await database.positions.list_by_agent(sees.owner.agent_id)] == [sees.position_id]
            assert await database.positions.find_by_id(hidden.position_id) is None
            async with database.transaction() as tx:
                assert await tx.positions.find_by_id(hidden.position_id) is None
                assert await tx.positions.find_by_id(sees.position_id) is not None
            with pytest.raises(WalletNotFound):
                await database.trades.deposit(hidden.owner.deposit("1"))


async def test_error_leaves_no_tenant_on_connection(mine: AsyncDatabase, me: User, other: User) -> None:
    theirs = mine.for_tenant(other.owner.user_id)
    for _ in range(3):
        with pytest.raises(PermissionDenied):  # refused by the server, in the same transaction as the setting
            await mine.agents.create(other.owner.user_id, "a gift")
        assert await theirs.positions.find_by_id(me.position_id) is None
        with pytest.raises(InvalidInput):  # refused by the driver
            await mine.agents.create(me.owner.user_id, "half a \ud83d")
        assert await theirs.positions.find_by_id(me.position_id) is None
        with pytest.raises(Undone):
            async with mine.transaction():
                raise Undone
        assert await theirs.positions.find_by_id(me.position_id) is None
        assert await theirs.positions.find_by_id(other.position_id) is not None


async def test_lost_connection_leaves_no_tenant(
    roled: RoledDatabase, mine: AsyncDatabase, me: User, other: User
) -> None:
    theirs = mine.for_tenant(other.owner.user_id)
    with pytest.raises(ConnectionLost):
        async with mine.transaction() as tx:
            pid = tx._connection.info.backend_pid
            async with await psycopg.AsyncConnection.connect(roled.url, autocommit=True) as superuser:
                await superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            await tx.positions.find_by_id(me.position_id)
    assert await theirs.positions.find_by_id(me.position_id) is None
    assert await theirs.positions.find_by_id(other.position_id) is not None


async def test_changed_schema_is_retried_as_same_user(
    roled: RoledDatabase, mine: AsyncDatabase, me: User, other: User
) -> None:
    """The retry after a schema change sends the tenant's setting again."""
    for _ in range(3):
        assert await mine.agents.find_by_id(me.owner.agent_id) is not None
    async with await psycopg.AsyncConnection.connect(roled.url, autocommit=True) as superuser:
        await superuser.execute("ALTER TABLE agents ALTER COLUMN name TYPE varchar(254)")
        try:
            assert await mine.agents.find_by_id(me.owner.agent_id) is not None
            assert await mine.agents.find_by_id(other.owner.agent_id) is None
        finally:
            await superuser.execute("ALTER TABLE agents ALTER COLUMN name TYPE varchar(255)")


async def test_session_without_user_sees_no_row(roled: RoledDatabase, me: User) -> None:
    """The tenants' role without the setting, and after a transaction that had it."""
    async with AsyncDatabase(roled.url_of("tenant")) as database:
        assert await database.agents.find_by_id(me.owner.agent_id) is None
        assert await database.users.find_by_email(me.email) is None
    async with await psycopg.AsyncConnection.connect(roled.url_of("tenant"), autocommit=True) as connection:
        async with connection.transaction():
            await connection.execute("SELECT set_config('nexgent.user_id', %s, true)", [str(me.owner.user_id)])
            seen = await (await connection.execute("SELECT count(*) FROM agent_positions")).fetchone()
        left = await (await connection.execute("SELECT count(*) FROM agent_positions")).fetchone()
    assert (seen, left) == ((1,), (0,))


# --- Opening ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["app", "tenant"])
async def test_service_and_tenant_roles_are_restricted_to_one_user(
    roled: RoledDatabase, me: User, other: User, role: str
) -> None:
    async with AsyncDatabase(roled.url_of(role), tenant=me.owner.user_id) as database:
        assert await database.positions.find_by_id(me.position_id) is not None
        assert await database.positions.find_by_id(other.position_id) is None


@pytest.mark.parametrize("role", ["migrator", "worker", "readonly"])
async def test_role_that_sees_all_users_is_refused_for_tenants(roled: RoledDatabase, role: str) -> None:
    database = AsyncDatabase(roled.url_of(role), tenant=NOBODY)
    with pytest.raises(
        TenantNotIsolated,
        match=r"sees all .* in adopted_deviations, agent_balance_.* tables more: .*roles apply",
    ):
        await database.open()


async def test_superuser_is_refused_for_tenants(roled: RoledDatabase) -> None:
    with pytest.raises(TenantNotIsolated, match="is exempt from row-level security"):
        await AsyncDatabase(roled.url, tenant=NOBODY).open()


async def test_table_without_policy_is_named(roled: RoledDatabase) -> None:
    async with await psycopg.AsyncConnection.connect(roled.url, autocommit=True) as superuser:
        await superuser.execute("CREATE TABLE notes (n int)")
        await superuser.execute(f"GRANT SELECT ON notes TO {roled.name_of('tenant')}".encode())
        try:
            with pytest.raises(TenantNotIsolated, match="in notes: "):
                await AsyncDatabase(roled.url_of("tenant"), tenant=NOBODY).open()
        finally:
            await superuser.execute("DROP TABLE notes")


async def test_database_without_roles_refuses_tenants(database_url: str) -> None:
    with pytest.raises(TenantNotIsolated):
        await AsyncDatabase(database_url, tenant=NOBODY).open()


@pytest.mark.parametrize("tenant", [None, NOBODY])
async def test_tenant_databases_open_and_close_with_parent(
    roled: RoledDatabase, other: User, tenant: UUID | None
) -> None:
    mine = AsyncDatabase(roled.url_of("app"), tenant=tenant)
    await mine.open()
    theirs = mine.for_tenant(other.owner.user_id)
    assert (await theirs.health()).problem is None
    for refused in (theirs.open, theirs.close):
        with pytest.raises(BlockMisuse, match="for_tenant"):
            await refused()
    async with mine.transaction():
        with pytest.raises(BlockMisuse, match="inside a transaction"):
            await theirs.positions.find_by_id(other.position_id)
    await mine.close()
    with pytest.raises(BlockMisuse, match="is not open"):
        await theirs.positions.find_by_id(other.position_id)


async def test_invalid_tenant_is_refused(app: AsyncDatabase, database_url: str) -> None:
    with pytest.raises(InvalidInput, match="tenant: a UUID is expected, not str"):
        app.for_tenant(str(NOBODY))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="tenant: a UUID is expected, not str"):
        AsyncDatabase(database_url, tenant=str(NOBODY))  # type: ignore[arg-type]


# --- The service's own database -------------------------------------------------------------------


async def test_one_pool_verifies_keys_and_serves_tenants(roled: RoledDatabase, me: User, other: User) -> None:
    """Calls for all users and for one take turns on one connection, and so share its prepared statements."""
    settings = replace(Settings.from_url(roled.url_of("app")), pool_max_size=1)
    async with AsyncDatabase(settings) as service:
        for _ in range(5):
            for sees, hidden in ((me, other), (other, me)):
                key = await service.api_keys.verify(sees.secret)
                assert key is not None
                tenant = service.for_tenant(key.user_id)
                assert [each.id for each in await tenant.positions.list_open()] == [sees.position_id]
                assert await tenant.positions.find_by_id(hidden.position_id) is None
                async with tenant.transaction() as tx:
                    assert await tx.positions.find_by_id(hidden.position_id) is None
                    assert await tx.positions.find_by_id(sees.position_id) is not None
                assert [row.agent_id async for row in tenant.positions.stream_open()] == [sees.owner.agent_id]
                with pytest.raises(WalletNotFound):
                    await tenant.trades.deposit(hidden.owner.deposit("1"))
                assert await service.positions.find_by_id(hidden.position_id) is not None
                await service.trades.deposit(hidden.owner.deposit("1"))
        assert service.tenant is None


@pytest.mark.parametrize("role", ["migrator", "worker", "readonly"])
async def test_role_that_sees_all_users_is_refused_before_query_of_tenant(
    roled: RoledDatabase, me: User, role: str
) -> None:
    async with AsyncDatabase(roled.url_of(role)) as database:
        tenant = database.for_tenant(me.owner.user_id)
        for _ in range(2):
            with pytest.raises(TenantNotIsolated, match="sees all users' rows"):
                await tenant.agents.find_by_id(me.owner.agent_id)
            with pytest.raises(TenantNotIsolated):
                async with tenant.transaction():
                    pytest.fail("entered")
            with pytest.raises(TenantNotIsolated):
                _ = [row async for row in tenant.positions.stream_open()]
            with pytest.raises(TenantNotIsolated):
                await database.assert_tenants()
        assert await database.agents.find_by_id(me.owner.agent_id) is not None


async def test_service_asserts_at_start_that_tenants_are_isolated(app: AsyncDatabase, roled: RoledDatabase) -> None:
    await app.assert_tenants()
    async with AsyncDatabase(roled.url) as superuser:
        with pytest.raises(TenantNotIsolated, match="is exempt"):
            await superuser.assert_tenants()


async def test_tenant_of_service_sees_no_cached_row_of_other_user(
    roled: RoledDatabase, redis_url: str, me: User, other: User
) -> None:
    settings = replace(Settings.from_url(roled.url_of("app")), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(replace(settings, local_cache_rows=10)) as service:
        tenant = service.for_tenant(me.owner.user_id)
        for _ in range(2):  # by now it is cached
            assert await service.cache.position(other.position_id) is not None
        assert await tenant.cache.position(other.position_id) is None
        assert await tenant.cache.position(me.position_id) is not None
        await tenant.trades.dca_buy(me.owner.dca_buy("1", "1", me.token))
        position = await service.cache.position(me.position_id)
        assert position is not None
        assert position.dca_count == 1


# --- The cache ----------------------------------------------------------------------------------


async def test_cache_shows_tenant_no_row_of_other_user(
    roled: RoledDatabase, redis_url: str, me: User, other: User
) -> None:
    prefix = f"{uuid4()}:"
    settings = replace(Settings.from_url(roled.url_of("app")), redis_url=redis_url, cache_prefix=prefix)
    async with AsyncDatabase(settings) as everybody, AsyncDatabase(settings, tenant=me.owner.user_id) as database:
        for _ in range(2):  # by now it is cached
            assert await everybody.cache.position(other.position_id) is not None
            assert len(await everybody.cache.positions_of_token(other.token)) == 1
            assert {me.owner.agent_id, other.owner.agent_id} <= set(await everybody.cache.active_agents())
        assert await database.cache.position(other.position_id) is None
        assert await database.cache.positions_of_agent(other.owner.agent_id) == []
        assert await database.cache.positions_of_token(other.token) == []
        assert await database.cache.balance(other.owner.agent_id, other.owner.wallet_address, other.token) is None
        assert await database.cache.balances_of_wallet(other.owner.agent_id, other.owner.wallet_address) == []
        assert await database.cache.config(other.owner.agent_id) is None
        assert (await database.cache.trading_flags(other.owner.agent_id)).source == "nowhere"
        assert await database.cache.active_agents() == [me.owner.agent_id]
        assert await database.cache.position(me.position_id) is not None


async def test_tenant_write_reaches_shared_cache(roled: RoledDatabase, redis_url: str, me: User) -> None:
    settings = replace(Settings.from_url(roled.url_of("app")), redis_url=redis_url, cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(settings) as everybody, AsyncDatabase(settings, tenant=me.owner.user_id) as database:
        await catch_up(everybody)
        await database.trades.dca_buy(me.owner.dca_buy("1", "1", me.token))
        async with database.transaction() as tx:
            await tx.agents.set_automated_trading(me.owner.agent_id, "simulation", False)
        hits = everybody.cache.metrics().hits
        position = await everybody.cache.position(me.position_id)
        flags = await everybody.cache.trading_flags(me.owner.agent_id)
        assert everybody.cache.metrics().hits == hits + 2
        assert position is not None
        assert position.dca_count == 1
        assert not flags.automated_trading_simulation


async def test_tenant_may_not_relay_outbox(roled: RoledDatabase, redis_url: str, me: User) -> None:
    named = replace(Settings.from_url(roled.url_of("app")), cache_prefix=f"{uuid4()}:")
    async with AsyncDatabase(named) as without_cache:
        await without_cache.trades.dca_buy(me.owner.dca_buy("1", "1", me.token))
    asked: list[str] = []
    settings = replace(named, redis_url=redis_url, local_cache_rows=10)
    tenant = AsyncDatabase(settings, tenant=me.owner.user_id, on_query=lambda event: asked.append(event.name))
    async with tenant as database, AsyncDatabase(settings) as everybody:
        shared: Any = database._shared_cache
        assert shared.metrics().state == "closed"  # at once: of the queue it sees nothing, and does not try
        shared._client.breaker.fail("a test", unapplied_write=True)
        assert await shared._recovery.recover()
        await database.trades.dca_buy(me.owner.dca_buy("1", "1", me.token))
        position = await everybody.cache.position(me.position_id)
        assert position is not None
        assert position.dca_count == 2
        assert shared._client.local is None
    assert "cache.identity" in asked
    assert "cache.take_changes" not in asked
