"""The planted bugs of tests/mutations still apply, and the tests that must catch them are there."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutations.planted import MUTATIONS, Mutation, documented
from tests.mutations.run import ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.bug)
def test_bug_applies_and_its_test_exists(mutation: Mutation) -> None:
    assert mutation.mutated((ROOT / mutation.path).read_text(encoding="utf-8"))
    test_file = ROOT / mutation.test.partition("::")[0]
    assert f"def {mutation.test_name}(" in test_file.read_text(encoding="utf-8")


def test_text_that_stands_twice_or_never_is_refused() -> None:
    mutation = Mutation("a bug", "a.py", "x", "y", "test_a.py::test_a")
    assert mutation.mutated("a x") == "a y"
    for text in ("a", "x x"):
        with pytest.raises(ValueError, match="not once"):
            mutation.mutated(text)


def test_bugs_are_in_sql_and_in_python() -> None:
    kinds = Counter(mutation.path.rpartition(".")[2] for mutation in MUTATIONS)
    assert kinds["sql"] >= 10
    assert kinds["py"] >= 5


def test_page_has_every_bug() -> None:
    page = (ROOT / "docs/pages/architecture/proofs.md").read_text(encoding="utf-8")
    table = page.partition("| planted bug |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == documented()
