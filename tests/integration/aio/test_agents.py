"""Agents: trading configurations, automated trading per mode, the default wallet."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from nexgent_db import AsyncDatabase
from nexgent_db.errors import InvalidInput, InvalidTradingConfig
from nexgent_db.models import AgentTradingConfig
from tests.integration.aio.factories import Owner
from tests.support.faults.concurrently import concurrently_async

LONG = Decimal("12345678901234567.123456789012345678")


def stored(database_url: str, agent_id: UUID) -> str | None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT trading_config::text FROM agents WHERE id = %s", [agent_id]).fetchone()
    assert row is not None
    return None if row[0] is None else str(row[0])


def store(database_url: str, agent_id: UUID, document: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE agents SET trading_config = %s WHERE id = %s", [document, agent_id])


async def test_missing_configuration_reads_as_defaults(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    assert await db.agents.load_config(owner.agent_id) == AgentTradingConfig()
    store(database_url, owner.agent_id, "null")
    assert await db.agents.load_config(owner.agent_id) == AgentTradingConfig()


async def test_partial_document_is_merged_over_defaults(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    store(database_url, owner.agent_id, '{"stopLoss": {"defaultPercentage": -12.50}, "old": {"x": 1}}')
    config = await db.agents.load_config(owner.agent_id)
    assert config is not None
    assert str(config.stop_loss.default_percentage) == "-12.50"
    assert config.stop_loss.enabled
    assert config.dca == AgentTradingConfig().dca


async def test_saved_configuration_comes_back_to_last_digit(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    config = AgentTradingConfig.from_document(
        {"purchaseLimits": {"maxPurchasePerToken": LONG, "maxPriceImpact": None}, "signals": {"marketCapMin": LONG}}
    )
    assert await db.agents.save_config(owner.agent_id, config) == config
    assert await db.agents.load_config(owner.agent_id) == config
    assert str(LONG) in (stored(database_url, owner.agent_id) or "")
    assert await db.agents.save_config(owner.agent_id, AgentTradingConfig()) == AgentTradingConfig()
    assert await db.agents.load_config(owner.agent_id) == AgentTradingConfig()


async def test_patch_changes_only_named_keys(db: AsyncDatabase, owner: Owner) -> None:
    await db.agents.update_config(owner.agent_id, {"signals": {"marketCapMin": 5, "minScore": 3}})
    config = await db.agents.update_config(owner.agent_id, {"signals": {"marketCapMin": None}, "unknown": 1})
    assert config is not None
    assert (config.signals.market_cap_min, config.signals.min_score) == (None, 3)
    assert await db.agents.load_config(owner.agent_id) == config


async def test_invalid_patch_is_refused_whole(db: AsyncDatabase, owner: Owner, database_url: str) -> None:
    await db.agents.update_config(owner.agent_id, {"dca": {"enabled": True}})
    before = stored(database_url, owner.agent_id)
    with pytest.raises(InvalidTradingConfig) as refused:
        await db.agents.update_config(
            owner.agent_id, {"dca": {"enabled": False, "maxDCACount": 11}, "signals": {"minScore": 0}}
        )
    assert [fault.field for fault in refused.value.faults] == ["signals.minScore", "dca.maxDCACount"]
    assert str(owner.agent_id) in str(refused.value)
    assert stored(database_url, owner.agent_id) == before
    unchecked = AgentTradingConfig().model_copy(update={"dca": None})
    with pytest.raises(InvalidTradingConfig):
        await db.agents.save_config(owner.agent_id, unchecked)
    wrong: Any = {"dca": {}}
    with pytest.raises(InvalidInput):
        await db.agents.save_config(owner.agent_id, wrong)
    wrong = ["dca"]
    with pytest.raises(InvalidInput):
        await db.agents.update_config(owner.agent_id, wrong)
    assert stored(database_url, owner.agent_id) == before


async def test_invalid_stored_document_is_reported_and_patch_repairs_it(
    db: AsyncDatabase, owner: Owner, database_url: str
) -> None:
    store(database_url, owner.agent_id, '{"signals": {"minScore": 9}}')
    with pytest.raises(InvalidTradingConfig, match=r"signals\.minScore") as refused:
        await db.agents.load_config(owner.agent_id)
    assert refused.value.agent_id == owner.agent_id
    changed = await db.agents.update_config(owner.agent_id, {"signals": {"minScore": 2}})
    assert await db.agents.load_config(owner.agent_id) == changed


async def test_concurrent_patches_of_different_keys_all_survive(db: AsyncDatabase, owner: Owner) -> None:
    patches: list[dict[str, object]] = [
        {"stopLoss": {"defaultPercentage": -10}},
        {"stopLoss": {"enabled": False}},
        {"signals": {"minScore": 4}},
        {"dca": {"cooldownSeconds": 99}},
        {"takeProfit": {"moonBag": {"enabled": False}}},
        {"takeProfit": {"enabled": True}},
    ]
    await concurrently_async([partial(db.agents.update_config, owner.agent_id, patch) for patch in patches])
    assert await db.agents.load_config(owner.agent_id) == AgentTradingConfig.from_document(*patches)


async def test_configuration_needs_agent(db: AsyncDatabase) -> None:
    assert await db.agents.load_config(uuid4()) is None
    assert await db.agents.save_config(uuid4(), AgentTradingConfig()) is None
    assert await db.agents.update_config(uuid4(), {}) is None


async def test_automated_trading_changes_for_one_mode_only(db: AsyncDatabase, owner: Owner) -> None:
    stopped = await db.agents.set_automated_trading(owner.agent_id, "live", False)
    assert stopped is not None
    assert (stopped.automated_trading_simulation, stopped.automated_trading_live) == (True, False)
    other = await db.agents.set_automated_trading(owner.agent_id, "simulation", False)
    assert other is not None
    assert (other.automated_trading_simulation, other.automated_trading_live) == (False, False)
    assert await db.agents.set_automated_trading(uuid4(), "live", True) is None
    wrong: Any = "demo"
    with pytest.raises(InvalidInput, match="mode"):
        await db.agents.set_automated_trading(owner.agent_id, wrong, True)


async def test_default_wallet_has_type_of_trading_mode(db: AsyncDatabase, owner: Owner) -> None:
    found = await db.agents.find_default_wallet(owner.agent_id)
    assert found is not None
    assert found.wallet_address == owner.wallet_address
    await db.agents.update(owner.agent_id, trading_mode="live")
    assert await db.agents.find_default_wallet(owner.agent_id) is None
    live = await db.wallets.create(f"L{uuid4().hex}", owner.agent_id, "live")
    assert await db.agents.find_default_wallet(owner.agent_id) == live
    assert await db.agents.find_default_wallet(uuid4()) is None
