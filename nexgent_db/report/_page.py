"""The page: one HTML file with its style and its search inside, complete without JavaScript. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from nexgent_db.queries.lexer import Kind, tokens_of_any
from nexgent_db.report._diagram import diagram
from nexgent_db.report._page_data import ShownIndex, ShownQuery, Subject
from nexgent_db.report._plan import Step

__all__ = ["page"]

_ROWS: Final = {"one": "one row", "optional": "at most one row", "many": "a list", "stream": "a stream of rows"}
_ROWS_WITHOUT: Final = {"rows": "the number of rows changed", "exec": "nothing"}


def page(subject: Subject) -> str:
    """The whole file as text, equal for equal subjects. It escapes every text from outside."""
    about = f"{len(subject.tables)} tables, {len(subject.queries)} queries"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>nexgent-db: {about}</title>",
            f"<style>\n{_asset('report.css')}</style>",
            "</head>",
            "<body>",
            "<header>",
            "<h1>nexgent-db</h1>",
            f"<p>{about}; proven against {escape(subject.version)}</p>",
            '<nav><a href="#diagram">Diagram</a><a href="#tables">Tables</a><a href="#queries">Queries</a>'
            '<a href="#indexes">To look at</a></nav>',
            "</header>",
            "<main>",
            f'<section id="diagram"><h2>Diagram</h2>\n<div class="wide">{diagram(subject)}</div></section>',
            '<section id="tables"><h2>Tables</h2>',
            *(_table(subject, table) for table in subject.tables),
            "</section>",
            '<section id="queries"><h2>Queries</h2>',
            *(_query(each, frozenset(subject.tables)) for each in subject.queries),
            "</section>",
            _findings(subject),
            "</main>",
            f"<script>\n{_asset('report.js')}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


# --- Tables ---------------------------------------------------------------------------------------


def _table(subject: Subject, table: str) -> str:
    catalog = subject.catalog
    columns = [
        (
            f"<code>{escape(name)}</code>",
            f'<code class="whole">{escape(column.type)}</code>',
            "" if column.nullable else '<span class="whole">not null</span>',
            f"<code>{escape(' '.join(filter(None, (column.default, column.extra))))}</code>",
            escape(catalog.comments.get(f"COLUMN {table}.{name}", "")),
        )
        for name, column in catalog.columns.get(table, {}).items()
    ]
    constraints = [
        (f"<code>{escape(name)}</code>", _definition(definition))
        for (owner, name), definition in sorted(catalog.constraints.items())
        if owner == table
    ]
    indexes = [
        (f'<code id="index-{escape(index.name)}">{escape(index.name)}</code>', _definition(_short(index)), _used(index))
        for index in subject.indexes_of(table)
    ]
    triggers = [
        (f"<code>{escape(name)}</code>", _definition(trigger.definition))
        for (owner, name), trigger in sorted(catalog.triggers.items())
        if owner == table
    ]
    said = catalog.comments.get(f"TABLE {table}", "")
    return "\n".join(
        [
            f'<article id="table-{escape(table)}" data-find>',
            f'<h3><a href="#table-{escape(table)}">{escape(table)}</a></h3>',
            f"<p>{escape(said)}</p>" if said else "",
            _grid("Columns", ("column", "type", "", "default", ""), columns),
            _grid("Constraints", ("constraint", "rule"), constraints),
            _grid("Indexes", ("index", "definition", "used by"), indexes),
            _grid("Triggers", ("trigger", "definition"), triggers),
            f"<p><b>Read by</b> {_queries(subject.reading(table))}</p>",
            f"<p><b>Changed by</b> {_queries(subject.writing(table))}</p>",
            "</article>",
        ]
    )


def _short(index: ShownIndex) -> str:
    """The definition without the name and the table, which the page shows beside it."""
    found = re.match(r"CREATE (UNIQUE )?INDEX \S+ ON \S+ (.*)", index.definition, re.DOTALL)
    return f"{found[1] or ''}{found[2]}" if found else index.definition


def _used(index: ShownIndex) -> str:
    if index.used_by:
        return _queries(index.used_by)
    return '<span class="faint">no query' + (": it holds a rule</span>" if index.enforces else "</span>")


# --- Queries --------------------------------------------------------------------------------------


def _query(shown: ShownQuery, tables: Collection[str]) -> str:
    query = shown.query
    rows = _ROWS.get(query.cardinality) or _ROWS_WITHOUT.get(query.cardinality, query.cardinality)
    parameters = [
        (
            f"<code>:{escape(each.name)}</code>",
            _type(each.type, each.nullable),
            "may be left out" if each.may_be_left_out else "",
            f"<code>{escape(each.argument)}</code>",
        )
        for each in query.parameters
    ]
    columns = [
        (
            f"<code>{escape(each.name)}</code>",
            _type(each.type, each.nullable),
        )
        for each in query.columns
    ]
    return "\n".join(
        [
            f'<article id="query-{escape(query.name)}" data-find>',
            f'<h3><a href="#query-{escape(query.name)}">{escape(query.name)}</a> <small>{escape(rows)}</small></h3>',
            f"<p>{escape(query.promise)}</p>",
            f'<pre class="python">{escape(query.signature or "no method calls it")}</pre>',
            f"<details><summary>SQL <small>sql/{escape(query.path.name)}:{query.line}</small></summary>"
            f"<pre>{_coloured(query.text)}</pre></details>",
            _folded(f"{len(parameters)} parameters", ("parameter", "type", "", "filled by"), parameters),
            _folded(f"{len(columns)} columns", ("column", "type"), columns),
            *(
                f"<details><summary>Plan <small>{escape(plan.label)}</small></summary>"
                f'<pre class="plan">{_plan(plan.step)}</pre></details>'
                for plan in shown.plans
            ),
            f"<p><b>Reads</b> {_tables(query.reads, tables)} <b>Changes</b> {_tables(query.writes, tables)} "
            f"<b>By</b> {_linked('index', query.indexes)}</p>",
            "</article>",
        ]
    )


def _type(name: str, nullable: bool) -> str:
    return f"<code>{escape(name)}</code>" + (" or NULL" if nullable else "")


_KEYWORD: Final = re.compile(r"\b[A-Z][A-Z_]+\b")


def _coloured(text: str) -> str:
    """SQL in spans. Words in capitals are keywords."""
    parts = list[str]()
    for token in tokens_of_any(text):
        piece = text[token.start : token.end]
        if token.kind is Kind.LINE_COMMENT:
            parts.append(_span("comment", piece))
        elif token.kind is Kind.PARAMETER:
            parts.append(_span("parameter", piece))
        elif token.kind is Kind.QUOTED and not piece.startswith('"'):
            parts.append(_span("string", piece))
        elif token.kind is Kind.CODE:
            end = 0
            for keyword in _KEYWORD.finditer(piece):
                parts += [escape(piece[end : keyword.start()]), _span("keyword", keyword.group())]
                end = keyword.end()
            parts.append(escape(piece[end:]))
        else:
            parts.append(escape(piece))
    return "".join(parts)


def _span(kind: str, text: str) -> str:
    return f'<span class="{kind}">{escape(text)}</span>'


def _plan(step: Step, depth: int = 0) -> str:
    indent = "  " * depth
    lines = [f'{indent}<b>{escape(step.title)}</b>  <span class="faint">{escape(step.figures)}</span>']
    lines += [f'{indent}  <span class="faint">{escape(label)}:</span> {escape(text)}' for label, text in step.details]
    return "\n".join([*lines, *(_plan(each, depth + 1) for each in step.below)])


# --- Findings -------------------------------------------------------------------------------------


def _findings(subject: Subject) -> str:
    unused = subject.unused_indexes()
    plain = [index for index in unused if not index.enforces and not subject.serves(index)]
    of_keys = [index for index in unused if not index.enforces and subject.serves(index)]
    rules = [index for index in unused if index.enforces]
    keys = [
        (f"<code>{escape(key.name)}</code>", _tables([key.table]), f"<code>{escape(', '.join(key.columns))}</code>")
        for key in subject.keys_without_index()
    ]
    return "\n".join(
        [
            '<section id="indexes"><h2>Indexes and keys to look at</h2>',
            "<p>Queries other than those of this package are not known here: pg_stat_user_indexes counts them all.</p>",
            _listed("Indexes that no query needs", _rows(subject, plain)),
            _listed(
                "Indexes that no query needs, but deletions do: they find what a foreign key names",
                _rows(subject, of_keys),
            ),
            _listed("Indexes that no query needs, but a rule does", _rows(subject, rules)),
            "<article data-find><h3>Foreign keys without an index</h3>",
            _grid("", ("foreign key", "table", "columns"), keys) or "<p>None.</p>",
            "</article></section>",
        ]
    )


def _rows(subject: Subject, indexes: Iterable[ShownIndex]) -> list[tuple[str, ...]]:
    return [
        (
            _linked("index", [index.name]),
            _tables([index.table]),
            _definition(_short(index)),
            escape(", ".join(key.name for key in subject.serves(index))),
        )
        for index in indexes
    ]


def _listed(title: str, rows: Sequence[tuple[str, ...]]) -> str:
    head = ("index", "table", "definition", "foreign keys")
    return f"<article data-find><h3>{title}</h3>{_grid('', head, rows) or '<p>None.</p>'}</article>"


# --- Pieces ---------------------------------------------------------------------------------------


def _grid(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    if not body:
        return ""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    caption = f"<caption>{escape(title)}</caption>" if title else ""
    return f'<div class="wide"><table>{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _folded(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"<details><summary>{escape(title)}</summary>{_grid('', head, rows)}</details>" if rows else ""


def _definition(text: str) -> str:
    return f"<code>{_coloured(text)}</code>"


def _queries(names: Sequence[str]) -> str:
    return _linked("query", names)


def _tables(names: Sequence[str], shown: Collection[str] | None = None) -> str:
    """The tables as links, except the migrations' history tables, which the page does not show."""
    return _linked("table", names, shown)


def _linked(kind: str, names: Sequence[str], shown: Collection[str] | None = None) -> str:
    return ", ".join(_links(kind, names, shown)) or '<span class="faint">nothing</span>'


def _links(kind: str, names: Sequence[str], shown: Collection[str] | None = None) -> Iterator[str]:
    for name in names:
        text = f"<code>{escape(name)}</code>"
        yield text if shown is not None and name not in shown else f'<a href="#{kind}-{escape(name)}">{text}</a>'
