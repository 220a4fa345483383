"""The README's examples run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_embedding_examples_run_one_after_the_other(fresh_database_url: str, tmp_path: Path) -> None:
    printed = []
    for example in EXAMPLES:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", example],
            cwd=tmp_path,
            env=os.environ | {"DATABASE_URL": fresh_database_url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed += done.stdout.splitlines()
    assert len(printed) == 3
    assert "balance=Decimal('10.500000000000000000')" in printed[0]
    assert "purchase_price=Decimal('1.6666666667E-8')" in printed[1]
    assert printed[2] == "wallet simulated-1 already has an open position of 90000000 in BONK: use dca_buy"


def test_every_make_target_of_the_documents_exists() -> None:
    root = Path(__file__).parents[2]
    listed = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True).stdout
    named = {
        target
        for document in ("README.md", "CONTRIBUTING.md")
        for target in re.findall(r"^\$ make (\w+)", (root / document).read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {"demo", "test", "check", "bench", "sync"} <= named
    for target in named:
        assert f"make {target} " in listed
