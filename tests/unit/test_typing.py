"""A service's code passes mypy --strict without settings of ours."""

from __future__ import annotations

from pathlib import Path

from mypy import api

from tests.support.builders.pages import ROOT, examples

PAGE = ROOT / "docs" / "pages" / "guides" / "own-sql.md"


def problems_of(folder: Path, text: str) -> str:
    """What mypy says of a module with this text."""
    module = folder / "service.py"
    module.write_text(text, encoding="utf-8")
    printed, failed, _ = api.run(["--strict", "--config-file=", f"--cache-dir={folder}", str(module)])
    assert not failed
    return printed


def test_own_repository_passes_mypy_without_settings(tmp_path: Path) -> None:
    (text,) = (example.text for example in examples(PAGE) if example.title == "price_alerts.py")
    assert problems_of(tmp_path, text).startswith("Success: ")
    wrong = text.replace('create(agent.id, Decimal("0.01"))', 'create(agent.id, "0.01")')
    wrong = wrong.replace("print(alert.price.normalize())", "print(alert.prize)")
    assert wrong != text
    printed = problems_of(tmp_path, wrong)
    assert 'Argument 2 to "create" of "PriceAlerts" has incompatible type "str"; expected "Decimal"' in printed
    assert '"PriceAlert" has no attribute "prize"' in printed
