"""The exported Protocols: mypy accepts our repositories and refuses a class that lacks a method."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pytest

from nexgent_db import AsyncDatabase, Database
from nexgent_db.aio import protocols as aio
from nexgent_db.sync import protocols as sync
from tests.codegen import protocols

ROOT = Path(__file__).resolve().parents[2]

Satisfied = tuple[
    aio.AgentRepositoryProtocol,
    aio.ApiKeyRepositoryProtocol,
    aio.BalanceRepositoryProtocol,
    aio.BalanceSnapshotRepositoryProtocol,
    aio.HistoricalSwapRepositoryProtocol,
    aio.PerformanceRepositoryProtocol,
    aio.PositionRepositoryProtocol,
    aio.SignalExecutionRepositoryProtocol,
    aio.SignalRepositoryProtocol,
    aio.TradeRequestRepositoryProtocol,
    aio.TradesProtocol,
    aio.TransactionRepositoryProtocol,
    aio.UserCellRepositoryProtocol,
    aio.UserRepositoryProtocol,
    aio.WalletRepositoryProtocol,
]
SyncSatisfied = tuple[
    sync.AgentRepositoryProtocol,
    sync.ApiKeyRepositoryProtocol,
    sync.BalanceRepositoryProtocol,
    sync.BalanceSnapshotRepositoryProtocol,
    sync.HistoricalSwapRepositoryProtocol,
    sync.PerformanceRepositoryProtocol,
    sync.PositionRepositoryProtocol,
    sync.SignalExecutionRepositoryProtocol,
    sync.SignalRepositoryProtocol,
    sync.TradeRequestRepositoryProtocol,
    sync.TradesProtocol,
    sync.TransactionRepositoryProtocol,
    sync.UserCellRepositoryProtocol,
    sync.UserRepositoryProtocol,
    sync.WalletRepositoryProtocol,
]


def satisfied(db: AsyncDatabase) -> Satisfied:
    """For mypy, which is part of ``make check``: each is what its Protocol asks for."""
    return (
        db.agents,
        db.api_keys,
        db.balances,
        db.balance_snapshots,
        db.historical_swaps,
        db.performance,
        db.positions,
        db.signal_executions,
        db.signals,
        db.trade_requests,
        db.trades,
        db.transactions,
        db.user_cells,
        db.users,
        db.wallets,
    )


def also_satisfied(db: Database) -> SyncSatisfied:
    """The same without async."""
    return (
        db.agents,
        db.api_keys,
        db.balances,
        db.balance_snapshots,
        db.historical_swaps,
        db.performance,
        db.positions,
        db.signal_executions,
        db.signals,
        db.trade_requests,
        db.trades,
        db.transactions,
        db.user_cells,
        db.users,
        db.wallets,
    )


@pytest.mark.parametrize(
    ("module", "made"),
    [
        (aio, satisfied(AsyncDatabase("dbname=nowhere"))),
        (sync, also_satisfied(Database("dbname=nowhere"))),
    ],
)
def test_protocol_has_each_public_method_of_its_class(module: ModuleType, made: tuple[object, ...]) -> None:
    assert len(made) == len(module.__all__)
    for repository in made:
        protocol = getattr(module, f"{type(repository).__name__}Protocol")
        assert public_methods(protocol) == public_methods(type(repository))


@pytest.mark.parametrize("database", [AsyncDatabase, Database])
def test_no_repository_lacks_protocol(database: type[AsyncDatabase | Database]) -> None:
    held = {type(value) for value in vars(database("dbname=nowhere")).values()}
    of_ours = {kind.__name__ for kind in held if kind.__name__.endswith("Repository")}
    assert {f"{name}Protocol" for name in of_ours | {"Trades"}} == set(aio.__all__) == set(sync.__all__)


def public_methods(kind: type[object]) -> set[str]:
    """Those that a caller may call."""
    methods = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
    return methods - {name for name, _ in inspect.getmembers(Protocol, inspect.isfunction)}


def test_class_without_method_is_refused_by_mypy(tmp_path: Path) -> None:
    source = tmp_path / "substitutes.py"
    source.write_text(
        "from datetime import datetime\n"
        "from uuid import UUID\n"
        "from nexgent_db.aio.protocols import TradeRequestRepositoryProtocol\n"
        "from nexgent_db.models import TradeRequest\n"
        "class Whole:\n"
        "    async def list_by_ids(self, request_ids: list[UUID]) -> list[TradeRequest]:\n"
        "        return []\n"
        "    async def prune(self, before: datetime, limit: int = 1000) -> int:\n"
        "        return 0\n"
        "class Another:\n"
        "    async def list(self, request_ids: list[UUID]) -> list[TradeRequest]:\n"
        "        return []\n"
        "fits: TradeRequestRepositoryProtocol = Whole()\n"
        "lacks: TradeRequestRepositoryProtocol = Another()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", source],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 1
    assert "substitutes.py:14: error: Incompatible types in assignment" in errors[0]


def test_committed_protocols_match_classes() -> None:
    assert protocols.formatted(protocols.generate()) == protocols.TARGET.read_text()
