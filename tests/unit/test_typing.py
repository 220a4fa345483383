"""A service's code passes mypy --strict and pyright without settings of ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
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


def broken(text: str) -> str:
    """The example of own SQL with a wrong argument and a wrong attribute."""
    wrong = text.replace('create(agent.id, Decimal("0.01"))', 'create(agent.id, "0.01")')
    assert wrong != text
    text = wrong.replace("print(alert.price.normalize())", "print(alert.prize)")
    assert wrong != text
    return text


def test_own_repository_passes_mypy_without_settings(tmp_path: Path) -> None:
    (text,) = (example.text for example in examples(PAGE) if example.title == "price_alerts.py")
    assert problems_of(tmp_path, text).startswith("Success: ")
    printed = problems_of(tmp_path, broken(text))
    assert 'Argument 2 to "create" of "PriceAlerts" has incompatible type "str"; expected "Decimal"' in printed
    assert '"PriceAlert" has no attribute "prize"' in printed


def synchronous(text: str) -> str:
    """The same program on nexgent_db.sync."""
    text = re.sub(r"\bawait |\basync (?=def|with|for)|^import asyncio\n", "", text, flags=re.MULTILINE)
    for before, after in (
        ("AsyncDatabase", "Database"),
        ("nexgent_db.aio", "nexgent_db.sync"),
        ("asyncio.run(main())", "main()"),
    ):
        assert before in text
        text = text.replace(before, after)
    return text


def test_pyright_accepts_examples_and_refuses_wrong_programs_in_its_strict_mode(tmp_path: Path) -> None:
    pytest.importorskip("basedpyright")
    programs = {
        f"{page.stem.lower().replace('-', '_')}_{number}": example.text
        for page in (README, PAGE)
        for number, example in enumerate(examples(page))
        if (example.title or "").endswith(".py")
    }
    (own,) = (text for text in programs.values() if "class PriceAlerts" in text)
    programs |= {"own": own, "own_sync": synchronous(own), "models": MODELS}
    wrong = {"own_wrong": broken(own), "own_sync_wrong": broken(synchronous(own)), "models_wrong": MODELS + FROZEN}
    found = pyright(tmp_path, programs | wrong)
    assert {name: found[name] for name in programs} == {name: [] for name in programs}
    for name in ("own_wrong", "own_sync_wrong"):
        assert found[name][0].startswith('Argument of type "Literal[\'0.01\']" cannot be assigned to parameter "price"')
        assert 'Cannot access attribute "prize" for class "PriceAlert"' in found[name]
    changes = [line for line in FROZEN.splitlines() if re.match(r"    [\w.]+ = ", line)]
    *frozen, missing, number = found["models_wrong"]
    assert len(frozen) == len(changes) == 5
    for message, line in zip(frozen, changes, strict=True):
        assert message.startswith(f'Cannot assign to attribute "{line.split()[0].partition(".")[2]}" for class ')
    assert missing == 'Argument missing for parameter "price"'
    assert number.startswith('Argument of type "float" cannot be assigned to parameter "sol_amount"')


def pyright(folder: Path, programs: Mapping[str, str]) -> dict[str, list[str]]:
    """The first line of each of pyright's messages, by program, in its strict mode and without other settings."""
    for name, text in programs.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    settings = {"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--pythonpath",
        sys.executable,
        "--project",
        str(folder),
        "--outputjson",
    ]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    assert answer["summary"]["filesAnalyzed"] == len(programs)
    found: dict[str, list[str]] = {name: [] for name in programs}
    for each in answer["generalDiagnostics"]:
        found[Path(each["file"]).stem].append(each["message"].partition("\n")[0])
    return found


MODELS = """
from decimal import Decimal

from nexgent_db.models import AgentPosition, AgentWallet, BuyOrder, SellOrder
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
from nexgent_db.models import AgentTradingConfig


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
