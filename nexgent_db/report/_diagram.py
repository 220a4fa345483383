"""Draws the entity-relationship diagram as SVG: a table is left of the tables that refer to it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from nexgent_db.report._page_data import ForeignKey, Subject

__all__ = ["diagram"]

_WIDTH: Final = 212
_GAP_X: Final = 52
_GAP_Y: Final = 22
_HEAD: Final = 26
_LINE: Final = 18
_MARGIN: Final = 8


@dataclass(frozen=True, slots=True)
class _Box:
    table: str
    columns: tuple[str, ...]
    x: int
    y: int

    @property
    def height(self) -> int:
        return _HEAD + _LINE * len(self.columns) + 6

    def y_of(self, column: str) -> int:
        return self.y + _HEAD + _LINE * self.columns.index(column) + _LINE // 2 + 1


def diagram(subject: Subject) -> str:
    """One ``<svg>``: each table with its keys, linked to its section; each relation as a line, its name as a tip."""
    boxes = _placed(subject)
    width = max((box.x for box in boxes.values()), default=0) + _WIDTH + _MARGIN
    height = max((box.y + box.height for box in boxes.values()), default=0) + _MARGIN
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Tables and their relations">']
    parts += [_line(key, boxes) for key in subject.foreign_keys if key.target in boxes]
    parts += [_drawn(box, subject) for box in boxes.values()]
    return "\n".join([*parts, "</svg>"])


def _placed(subject: Subject) -> dict[str, _Box]:
    ranks = _ranks(subject.tables, subject.foreign_keys)
    columns: dict[int, list[str]] = {}
    for table in subject.tables:
        columns.setdefault(ranks[table], []).append(table)
    boxes: dict[str, _Box] = {}
    tallest = max((_height(subject, tables) for tables in columns.values()), default=0)
    for rank, tables in sorted(columns.items()):
        tables.sort(key=lambda table: (_height_of_those_named(subject, table, boxes), table))
        y = _MARGIN + (tallest - _height(subject, tables)) // 2
        for table in tables:
            box = _Box(table, _keys(subject, table), _MARGIN + rank * (_WIDTH + _GAP_X), y)
            boxes[table] = box
            y += box.height + _GAP_Y
    return boxes


def _ranks(tables: Sequence[str], keys: Sequence[ForeignKey]) -> dict[str, int]:
    """A table's rank: one more than the highest of the tables it refers to. A cycle of keys limits it."""
    ranks = dict.fromkeys(tables, 0)
    for _ in tables:
        for key in keys:
            if key.target != key.table and key.target in ranks:
                ranks[key.table] = min(max(ranks[key.table], ranks[key.target] + 1), len(tables) - 1)
    return ranks


def _height(subject: Subject, tables: Sequence[str]) -> int:
    return sum(_Box(table, _keys(subject, table), 0, 0).height + _GAP_Y for table in tables) - _GAP_Y


def _height_of_those_named(subject: Subject, table: str, boxes: Mapping[str, _Box]) -> float:
    named = [boxes[key.target].y for key in subject.keys_of(table) if key.target in boxes]
    return sum(named) / len(named) if named else 0


def _keys(subject: Subject, table: str) -> tuple[str, ...]:
    """The table's key columns, in the table's order."""
    keys = {*subject.primary_key(table), *(column for key in subject.keys_of(table) for column in key.columns)}
    return tuple(column for column in subject.catalog.columns.get(table, {}) if column in keys)


def _line(key: ForeignKey, boxes: Mapping[str, _Box]) -> str:
    child, parent = boxes[key.table], boxes[key.target]
    y1 = child.y_of(key.columns[0])
    y2 = parent.y + _HEAD // 2
    x1, x2 = child.x, parent.x + _WIDTH
    bend = max(_GAP_X, (x1 - x2) // 2)
    path = f"M{x1},{y1} C{x1 - bend},{y1} {x2 + bend},{y2} {x2},{y2}"
    if child is parent:
        path = f"M{x2},{y1} C{x2 + _GAP_X},{y1} {x2 + _GAP_X},{y2} {x2},{y2}"
    said = f"{key.table} ({', '.join(key.columns)}) names {key.target}"
    return f'<path class="relation" d="{path}"><title>{escape(said)}</title></path>'


def _drawn(box: _Box, subject: Subject) -> str:
    primary = set(subject.primary_key(box.table))
    named = {column: key.target for key in subject.keys_of(box.table) for column in key.columns}
    parts = [
        f'<a href="#table-{escape(box.table)}"><g class="entity">',
        f'<rect class="body" x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{box.height}" rx="6"/>',
        f'<path class="head" d="M{box.x},{box.y + _HEAD}v-{_HEAD - 6}q0,-6 6,-6h{_WIDTH - 12}q6,0 6,6v{_HEAD - 6}z"/>',
        f'<text class="name" x="{box.x + 10}" y="{box.y + 17}">{escape(box.table)}</text>',
    ]
    for column in box.columns:
        y = box.y_of(column) + 4
        marks = " ".join(filter(None, ("PK" if column in primary else "", "FK" if column in named else "")))
        parts.append(f'<text x="{box.x + 10}" y="{y}">{escape(column)}</text>')
        parts.append(f'<text class="mark" x="{box.x + _WIDTH - 8}" y="{y}" text-anchor="end">{marks}</text>')
    return "\n".join([*parts, "</g></a>"])
