"""The report for DBAs: it is complete, loads nothing external, and its search works in a browser."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from nexgent_db.aio.repositories.base import Repository
from nexgent_db.cli.app import app
from nexgent_db.contract import NamedQuery, all_sources
from nexgent_db.report import ShownPlan, ShownQuery, Subject, page, step_of
from nexgent_db.schema.catalog import Catalog, Column, Index, Table
from nexgent_db.schema.introspect import read_catalog
from tests.support.browser import Browser

HOSTILE = "<script>alert('&')</script>"
VOID = {"meta", "path", "rect"}  # without an end tag, or closed by themselves


class Page(HTMLParser):
    """Parses a page, and checks that its tags are nested correctly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.links: set[str] = set()
        self.loaded: list[str] = []
        self.texts: list[str] = []
        self.tags: Counter[str] = Counter()
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            if name == "href":
                self.links.add(value or "")
            if name in ("src", "srcset", "action", "data", "style"):
                self.loaded.append(f"{tag} {name}={value}")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def written(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the migrated database of this test session."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    done = CliRunner().invoke(app, ["report", "--out", str(path), "--database-url", database_url])
    assert done.exit_code == 0, done.output
    assert f"{len(all_sources(Repository))} queries" in done.output
    return path


@pytest.fixture(scope="module")
def parsed(written: Path) -> Page:
    """The same page, parsed."""
    return Page(written.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def schema(database_url: str) -> Catalog:
    """The schema that the page describes."""
    with psycopg.connect(database_url) as connection:
        return read_catalog(connection)


def test_page_has_every_table_column_constraint_index_and_trigger(parsed: Page, schema: Catalog) -> None:
    text = "".join(parsed.texts)
    for table in schema.tables:
        assert parsed.ids[f"table-{table}"] == 1
    for table, columns in schema.columns.items():
        assert all(name in text for name in columns), table
    for index in schema.indexes:
        assert parsed.ids[f"index-{index}"] == 1
    for _, name in [*schema.constraints, *schema.triggers]:
        assert name in text


def test_page_has_every_query_with_text_plan_and_signature(parsed: Page) -> None:
    text = "".join(parsed.texts)
    sources = all_sources(Repository)
    for source in sources:
        assert parsed.ids[f"query-{source.query.qualified_name}"] == 1
        assert source.sql in text
    assert text.count("-- name: ") >= len(sources)
    assert parsed.tags["pre"] >= 3 * len(sources)  # Python, SQL, and a plan at least
    assert "PositionRepository.find_by_id(position_id: UUID) -> AgentPosition | None" in text
    assert re.search(r"(Index Scan using \w+|Seq Scan) on agent_positions\b", text)  # by the tests' own statistics


def test_page_ids_are_unique_and_links_resolve(parsed: Page) -> None:
    assert [name for name, times in parsed.ids.items() if times > 1] == []
    assert {link.removeprefix("#") for link in parsed.links} <= parsed.ids.keys()


def test_page_loads_no_external_resource(written: Path, parsed: Page) -> None:
    assert parsed.loaded == []
    assert parsed.tags["link"] == 0
    text = written.read_text(encoding="utf-8")
    assert "@import" not in text
    assert "url(" not in text
    assert "http" not in text.replace("https", "http").split("<body>")[0]


def test_same_database_gives_same_page(fresh_database_url: str, tmp_path: Path) -> None:
    """Uses its own database: other tests fill the session's, and autovacuum counts its rows at any time."""
    written = [tmp_path / "once.html", tmp_path / "again.html"]
    for path in written:
        done = CliRunner().invoke(app, ["report", "--out", str(path), "--database-url", fresh_database_url])
        assert done.exit_code == 0
    assert written[0].read_bytes() == written[1].read_bytes()


def test_unwritable_page_is_reported(database_url: str, tmp_path: Path) -> None:
    out = tmp_path / "missing" / "page.html"
    done = CliRunner().invoke(app, ["report", "--out", str(out), "--database-url", database_url])
    assert done.exit_code == 1
    assert "cannot be written" in str(done.exception)


# --- Made-up subjects -----------------------------------------------------------------------------


def made_up(**changes: object) -> Subject:
    """Two tables, one naming the other without an index; one index that a query uses and one that none does."""
    catalog = Catalog(
        tables={"parents": Table(), "children": Table()},
        columns={
            "parents": {"id": Column("uuid", nullable=False)},
            "children": {"id": Column("uuid", nullable=False), "parent_id": Column("uuid", nullable=True)},
        },
        constraints={
            ("parents", "parents_pkey"): "PRIMARY KEY (id)",
            ("children", "children_parent_id_fkey"): "FOREIGN KEY (parent_id) REFERENCES parents(id) ON DELETE CASCADE",
        },
        indexes={
            "children_id_idx": Index("children", "CREATE INDEX children_id_idx ON children USING btree (id DESC)"),
            "children_some_idx": Index(
                "children", "CREATE INDEX children_some_idx ON children USING btree (parent_id) WHERE (id IS NOT NULL)"
            ),
        },
        comments={"TABLE children": HOSTILE},
    )
    query = NamedQuery(
        name="children.find",
        file="children",
        cardinality="one",
        rows="one",
        promise=HOSTILE,
        path=Path("children.sql"),
        line=1,
        text=f"SELECT '{HOSTILE}' -- {HOSTILE}",
        parameters=(),
        columns=(),
        reads=("children",),
        writes=(),
        indexes=("children_id_idx",),
        variants=1,
        signature=HOSTILE,
        method=None,
    )
    step = step_of({"Node Type": HOSTILE, "Startup Cost": 0, "Total Cost": 1, "Plan Rows": 1})
    return Subject(catalog, [ShownQuery(query, (ShownPlan("", step),))], HOSTILE)


def test_hostile_text_is_escaped() -> None:
    text = page(made_up())
    parsed = Page(text)
    assert parsed.tags["script"] == 1
    assert HOSTILE not in text
    assert "".join(parsed.texts).count(HOSTILE) >= 6


def test_unused_index_and_unindexed_key_are_distinguished() -> None:
    subject = made_up()
    assert [index.name for index in subject.unused_indexes()] == ["children_some_idx", "parents_pkey"]
    assert [index.name for index in subject.unused_indexes() if index.enforces] == ["parents_pkey"]
    assert [key.name for key in subject.keys_without_index()] == ["children_parent_id_fkey"]


def test_index_with_key_as_prefix_serves_key() -> None:
    subject = made_up()
    whole = Index("children", "CREATE INDEX children_p_idx ON children USING btree (parent_id, lower(name) DESC)")
    catalog = Catalog(
        tables=subject.catalog.tables,
        columns=subject.catalog.columns,
        constraints=subject.catalog.constraints,
        indexes={"children_p_idx": whole},
    )
    served = Subject(catalog, (), "")
    assert served.keys_without_index() == ()
    assert served.indexes_of("children")[0].columns == ("parent_id", "lower(name)")


@pytest.mark.parametrize(
    ("index", "serves"),
    [("(parent_id)", True), ("(parent_id, some)", True), ("(owner, parent_id)", True), ("(owner)", False)],
)
def test_index_on_column_that_names_primary_key_serves_wider_key(index: str, serves: bool) -> None:
    subject = made_up()
    wider = "FOREIGN KEY (owner, parent_id) REFERENCES parents(owner, id) ON DELETE CASCADE"
    catalog = Catalog(
        tables=subject.catalog.tables,
        columns=subject.catalog.columns,
        constraints={**subject.catalog.constraints, ("children", "children_parent_id_fkey"): wider},
        indexes={"children_p_idx": Index("children", f"CREATE INDEX children_p_idx ON children USING btree {index}")},
    )
    assert (Subject(catalog, (), "").keys_without_index() == ()) is serves


def test_every_cascading_foreign_key_has_index(schema: Catalog) -> None:
    cascading = {name for (_, name), definition in schema.constraints.items() if "ON DELETE CASCADE" in definition}
    without = {key.name for key in Subject(schema, (), "").keys_without_index()}
    assert cascading
    assert without & cascading == set()


# --- In a browser ---------------------------------------------------------------------------------


def hidden(document: str) -> tuple[int, int]:
    """How many articles are hidden, of how many."""
    articles = document.split("<article")[1:]
    return sum(" hidden" in tag.split(">")[0] for tag in articles), len(articles)


def test_search_shows_entries_with_every_word(written: Path, browser: Browser) -> None:
    none_hidden, total = hidden(browser.loaded(written.as_uri()))
    some_hidden, _ = hidden(browser.loaded(f"{written.as_uri()}#q=moon%20bag%20positions"))
    all_hidden, _ = hidden(browser.loaded(f"{written.as_uri()}#q=no-such-word-anywhere"))
    assert none_hidden == 0
    assert 0 < some_hidden < total
    assert all_hidden == total


def test_page_is_complete_without_javascript(written: Path, browser: Browser, tmp_path: Path) -> None:
    text = written.read_text(encoding="utf-8")
    forbids = '<meta http-equiv="Content-Security-Policy" content="script-src \'none\'">'
    copy = tmp_path / "page.html"
    copy.write_text(text.replace("<head>", f"<head>{forbids}", 1), encoding="utf-8")
    document = browser.loaded(copy.as_uri(), quiet=False)  # it says that the script was refused
    assert "<input" not in document
    assert hidden(document)[0] == 0
    assert Page(document).ids == Page(text).ids
