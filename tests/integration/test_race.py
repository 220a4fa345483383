"""The race of the benchmarks runs, reports in the form that it promises, and fails when a target is missed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.benchmarks.race.__main__ import main
from tests.benchmarks.race.targets import TARGETS, Target
from tests.benchmarks.race.wal import measure

READ, TRADE = "a filtered list", "take-profit"
MISSED = Target(workload=TRADE, beside="psycopg", at_least=1e9)
MET = Target(workload=READ, contender="ours async", beside="psycopg", at_most=1e9)


@pytest.mark.filterwarnings("ignore:Can't validate argument 'dialect_options'")  # SQLAlchemy's, of PostgreSQL 18
def test_two_workloads_run_and_a_missed_target_gives_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "race.svg"
    arguments = ["--only", READ, TRADE, "--rounds", "1", "--scale", "0.001", "--json", "--chart", str(picture)]
    assert main(arguments, [MISSED, MET]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)

    assert set(document) == {"date", "machine", "rounds", "results", "targets", "left_out"}
    assert set(document["machine"]) == {"processor", "cores", "postgres", "python", "load"}
    results = {(one["workload"], one["contender"]): one for one in document["results"]}
    assert {workload for workload, _ in results} == {READ, TRADE}
    contenders = {"ours", "ours async", "psycopg"}
    assert {name for workload, name in results if workload == READ} >= contenders | {"psycopg class_row"}
    assert {name for workload, name in results if workload == TRADE} >= contenders
    for one in results.values():
        assert one["rounds"] == [one["seconds"]]
        assert 0 < one["seconds"] < 10

    missed, met = document["targets"]
    ratio = results[TRADE, "psycopg"]["seconds"] / results[TRADE, "ours"]["seconds"]
    assert missed == {"target": MISSED.name, "at_most": None, "at_least": 1e9, "ratio": ratio, "met": False}
    assert (met["target"], met["met"]) == (MET.name, True)
    assert f"missed: {MISSED.name}" in printed.err
    assert f"missed: {MET.name}" not in printed.err

    texts = [text.text for text in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert {READ, TRADE, "ours", "psycopg"} <= set(texts)
    assert any(re.search(r"PostgreSQL \d", text or "") for text in texts)


def test_wal_of_a_buy_is_measured_without_and_with_a_hash() -> None:
    plain, hashed = measure(rows=1000, buys=3)
    assert (plain.orders, hashed.orders) == ("without a hash", "with a hash")
    for one in (plain, hashed):
        assert (one.rows, one.buys) == (1000, 3)
        # A buy writes its rows and, right after a checkpoint, whole pages of 8 kB; a checkpoint of its own is no buy.
        assert 1_000 < one.bytes_per_buy < 500_000


def test_unknown_workload_gives_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "no such"]) == 2
    assert "no such" in capsys.readouterr().err


def test_every_target_is_of_a_workload(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert {target.workload for target in TARGETS} <= set(names)
