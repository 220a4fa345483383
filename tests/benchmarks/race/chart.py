"""The chart of a race, as SVG: for each workload the contenders' times as bars, the fastest first.

It has a background of its own and follows the reader's colour scheme, so that it can be read in light and in dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from tests.benchmarks.race.contest import Measured
from tests.benchmarks.race.report import Race, baseline_of, duration

_CHOSEN: Final = ("one row", "20 rows", "1,000 rows", "a page", "a stream", "buy", "4 writers", "8 writers")
"""The workloads of the chart begin so; with none of them, all are drawn."""
_WITHOUT: Final = ("ours, hooked", "psycopg pool", "ours, cached", "ours async, cached")
"""Contenders of questions that the chart does not ask."""

_COLUMNS: Final = 2
_PANEL: Final = 372
_NAME: Final = 140
_VALUE: Final = 48
_ROW: Final = 15
_TITLE: Final = 24
_GAP: Final = 14
_HEAD: Final = 40

_STYLE: Final = """
  .paper { fill: #ffffff } .ink { fill: #1f2328 } .soft { fill: #59636e }
  .ours { fill: #3f51b5 } .other { fill: #afb8c1 }
  text { font: 11px system-ui, sans-serif } .title { font-weight: 600 } .right { text-anchor: end }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #1b1f27 } .ink { fill: #e6edf3 } .soft { fill: #9aa4af }
    .ours { fill: #8c9eff } .other { fill: #545d68 }
  }
"""


def chart(race: Race) -> str:
    """The chart as the text of a file."""
    panels = _panels(race.measured)
    rows = [panels[first : first + _COLUMNS] for first in range(0, len(panels), _COLUMNS)]
    parts: list[str] = []
    top = _HEAD
    for row in rows:
        for column, panel in enumerate(row):
            parts += _panel(race.measured, panel, _GAP + column * (_PANEL + _GAP), top)
        top += _TITLE + _ROW * max(map(len, row)) + _GAP
    width = _GAP + _COLUMNS * (_PANEL + _GAP)
    about = f"Median of {race.rounds} interleaved rounds; {race.machine}"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" role="img">',
        "<title>The time of each contender as a multiple of ours; less is better</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{width}" height="{top}" rx="6"/>',
        _text(_GAP, 17, "Time of a call as a multiple of ours (less is better)", "ink title"),
        _text(_GAP, 32, about, "soft"),
    ]
    return "\n".join([*head, *parts, "</svg>\n"])


def _panels(measured: Sequence[Measured]) -> list[list[Measured]]:
    names = list(dict.fromkeys(one.workload for one in measured))
    chosen = [name for name in names if name.startswith(_CHOSEN)] or names
    return [
        sorted(
            (one for one in measured if one.workload == name and one.contender not in _WITHOUT),
            key=lambda one: one.seconds,
        )
        for name in chosen
    ]


def _panel(measured: Sequence[Measured], panel: Sequence[Measured], left: int, top: int) -> list[str]:
    ours, longest = baseline_of(measured, panel[0].workload), panel[-1].seconds
    parts = [
        _text(left, top + 14, panel[0].workload, "ink title"),
        _text(left + _PANEL, top + 14, f"1x is {duration(ours)}", "soft right"),
    ]
    for number, one in enumerate(panel):
        y = top + _TITLE + number * _ROW
        kind = "ours" if one.contender.startswith("ours") else "other"
        length = max(1, round((_PANEL - _NAME - _VALUE) * one.seconds / longest))
        parts += [
            _text(left + _NAME - 6, y + 9, one.contender, "ink right" if kind == "ours" else "soft right"),
            f'<rect class="{kind}" x="{left + _NAME}" y="{y}" width="{length}" height="{_ROW - 4}" rx="1.5"/>',
            _text(left + _NAME + length + 5, y + 9, f"{one.seconds / ours:.2f}x", "ink"),
        ]
    return parts


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'
