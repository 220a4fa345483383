"""A service's code passes mypy --strict and pyright without settings of ours."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mypy import api

from tests.support.builders.pages import ROOT, examples

README = ROOT / "README.md"
PAGE = ROOT / "docs" / "pages" / "guides" / "own-sql.md"


def problems_of(folder: Path, text: str) -> str:
    """What mypy says of a module with this text."""
    module = folder / "service.py"
    module.write_text(text, encoding="utf-8")
    printed, failed, _ = api.run(["--strict", "--config-file=", f"--cache-dir={folder}", str(module)])
    assert not failed
    return printed


def test_examples_of_readme_pass_mypy_without_settings(tmp_path: Path) -> None:
    programs = [example.text for example in examples(README) if (example.title or "").endswith(".py")]
    assert [problems_of(tmp_path, text).partition(":")[0] for text in programs] == ["Success"] * len(programs)
    assert programs


def test_own_repository_passes_mypy_without_settings(tmp_path: Path) -> None:
    (text,) = (example.text for example in examples(PAGE) if example.title == "price_alerts.py")
    assert problems_of(tmp_path, text).startswith("Success: ")
    wrong = text.replace('create(agent.id, Decimal("0.01"))', 'create(agent.id, "0.01")')
    wrong = wrong.replace("print(alert.price.normalize())", "print(alert.prize)")
    assert wrong != text
    printed = problems_of(tmp_path, wrong)
    assert 'Argument 2 to "create" of "PriceAlerts" has incompatible type "str"; expected "Decimal"' in printed
    assert '"PriceAlert" has no attribute "prize"' in printed


def test_examples_pass_pyright_in_its_strict_mode(tmp_path: Path) -> None:
    program = pytest.importorskip("basedpyright").__name__
    for page in (README, PAGE):
        for number, example in enumerate(examples(page)):
            if (example.title or "").endswith(".py"):
                (tmp_path / f"{page.stem}_{number}.py").write_text(example.text, encoding="utf-8")
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", program, "--pythonpath", sys.executable, "--project", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["0 errors, 0 warnings, 0 notes"], done.stdout


MODELS = """
from decimal import Decimal
from uuid import UUID

from nexgent_db.models import AgentPosition, AgentTradingConfig, AgentWallet, BuyOrder, SellOrder
from nexgent_db.models.base import Row


class PriceAlert(Row):
    price: Decimal
    note: str | None = None


class LoudPriceAlert(PriceAlert):
    loud: bool = True


def orders(wallet: AgentWallet, position: AgentPosition) -> None:
    BuyOrder(
        agent_id=wallet.agent_id,
        wallet_address=wallet.wallet_address,
        token_address="token",
        token_symbol="TOK",
        sol_amount=Decimal(1),
        token_amount=Decimal(2),
    )
    BuyOrder.of(wallet, "token", "TOK", sol_amount="1.5", token_amount=2)
    SellOrder.of(position, sol_amount=Decimal("1.5"))
    LoudPriceAlert(price=Decimal(1))
"""

FROZEN = """

def change(order: BuyOrder, wallet: AgentWallet, alert: LoudPriceAlert, config: AgentTradingConfig) -> None:
    order.sol_amount = Decimal(2)
    wallet.wallet_address = "another"
    alert.price = Decimal(2)
    alert.loud = False
    config.dca = config.dca
    PriceAlert()
    BuyOrder.of(wallet, "token", "TOK", sol_amount=1.5, token_amount=2)
"""


def test_orders_and_own_models_pass_mypy_and_are_frozen_for_it(tmp_path: Path) -> None:
    assert problems_of(tmp_path, MODELS).startswith("Success: ")
    printed = problems_of(tmp_path, MODELS + FROZEN)
    for name, kind in (
        ("sol_amount", "BuyOrder"),
        ("wallet_address", "AgentWallet"),
        ("price", "LoudPriceAlert"),
        ("loud", "LoudPriceAlert"),
        ("dca", "AgentTradingConfig"),
    ):
        assert f'Property "{name}" defined in "{kind}" is read-only' in printed
    assert 'Missing named argument "price" for "PriceAlert"' in printed
    assert 'Argument "sol_amount" to "of" of "BuyOrder" has incompatible type "float"' in printed
