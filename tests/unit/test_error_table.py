"""The documentation's table of errors: public classes and rows correspond, and the table is up to date."""

from __future__ import annotations

import re

import pytest

from nexgent_db import errors
from nexgent_db.errors import DatabaseUnavailable, DiskFull, NexgentError, TradeRefused
from nexgent_db.errors.translation import BAD_VALUES, BY_STATE, VIOLATIONS
from tests.codegen.error_table import BEGIN, END, PAGE, kinds, row_of, sqlstates_of, with_table


def test_public_errors_and_table_rows_correspond() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == {kind.__name__ for kind in kinds()}


def test_every_public_error_has_a_family() -> None:
    assert {kind.__name__ for kind in kinds()} == set(errors.__all__) - {"Fault", "translate"}


def test_table_is_fresh() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page), "stale: make errors"


@pytest.mark.parametrize("kind", kinds())
def test_docstring_states_effect_and_advice(kind: type[NexgentError]) -> None:
    row = row_of(kind)
    assert row.raised.endswith(".")
    assert row.action.startswith(("Retry at once", "Retry later", "Repair", "Never retry"))


@pytest.mark.parametrize("kind", [kind for kind in kinds() if issubclass(kind, TradeRefused | DatabaseUnavailable)])
def test_only_lost_connection_has_unknown_outcome(kind: type[NexgentError]) -> None:
    assert row_of(kind).changed.startswith("nothing") is (kind is not errors.ConnectionLost)


def test_every_code_of_tables_is_in_row() -> None:
    shown = {state for kind in kinds() for state in sqlstates_of(kind)}
    assert shown >= {*BY_STATE, *VIOLATIONS, *BAD_VALUES}
    assert sqlstates_of(DiskFull) == ["53100"]


def test_class_without_advice_is_found() -> None:
    class Silent(Exception):
        """It went wrong."""

    with pytest.raises(ValueError, match="Silent does not end with what was changed"):
        row_of(Silent)  # type: ignore[arg-type]


def test_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="has no"):
        with_table(BEGIN)
    assert with_table(f"before\n{BEGIN}old{END}after\n").startswith(f"before\n{BEGIN}")
