"""Properties of named-query files with any content."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexgent_db.errors import SqlFileError
from nexgent_db.queries.lexer import Kind, LexError, tokens, tokens_of_any
from nexgent_db.queries.sqlfile import load_file
from nexgent_db.queries.statement import Query

HEAD = "-- name: q :many\n"
PRODUCED_HEAD = "-- name: some_file.q :many\n"

# Safe anywhere between commas: each is whole in itself.
FRAGMENTS = st.sampled_from(
    [
        "1::int",
        "a[1:2]",
        "a[lo : hi]",
        "':x'",
        "'it''s :x'",
        r"'\'",
        r"E'\':x\\'",
        r"E'a''\':x'",
        r"U&'\0061:x'",
        "B'1'",
        '"a "":x"',
        "$$ ' :x $$",
        "$t$ $$ :x $u$ $t$",
        "a$b$c",
        "/* ' :x /* :x */ $$ */",
        "-- it's :x\n",
        "'a' -- :x\n':x'",
        "E'a'\n'\\':x'",
        "f(x := 1)",
        "a -> 'b' ->> 'c' #> d @> e ? f ?| g",
        "a % b",
        "a <@ b",
        "- -1",
        "2 / 3 * 4",
        "(",
        ")",
        "[",
        "]",
        ",",
        ".5e-3",
        "größe",
    ]
)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).map(lambda name: f"p_{name}")
# Always with a comma: a string behind another one's line end would continue it, in its escape mode.
SPACES = st.sampled_from([" , ", ",\n", "\n\t,", ",  ", " /* : */ , "])
# Characters that mean something to the lexer, and some that mean nothing.
EDGE_CASE_TEXT = st.text(st.sampled_from("'\"$:;-/*\\\nEeaux_1 ()[]%,=<>é\u00a0?@{"), max_size=40)
QUOTABLE = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=30).filter(
    lambda text: "\n-- name: " not in f"\n{text}"
) | st.lists(st.sampled_from([":x", "'", '"', "$", "$$", "\\", "\n", "--", "/*", "*/", " ", "E'", "é"])).map("".join)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def load(directory: Path, content: str | bytes) -> dict[str, Query]:
    path = directory / "some_file.sql"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return dict(load_file(path).queries)


@given(st.lists(st.tuples(st.one_of(FRAGMENTS, NAMES.map(lambda name: (name,))), SPACES)))
def test_inserted_parameters_are_found(directory: Path, parts: list[tuple[str | tuple[str], str]]) -> None:
    written, produced, numbers = "SELECT ", "SELECT ", dict[str, int]()
    for part, space in parts:
        if isinstance(part, str):
            written += part + space
            produced += part + space
        else:
            written += f":{part[0]}{space}"
            produced += f"${numbers.setdefault(part[0], len(numbers) + 1)}{space}"
    query = load(directory, f"{HEAD}{written}0;\n-- end")["q"]
    assert query.parameters == tuple(numbers)
    assert query.required == numbers.keys()
    statement = query.statement(query.parameters)
    assert statement.text == f"{PRODUCED_HEAD}{produced}0"
    assert statement.parameters == tuple(numbers)
    # A position in the text is the same place in the file: the same character, or the parameter's colon.
    lines = f"{HEAD}{written}0".split("\n")
    for found in re.finditer(r"\$\d+|\S", statement.text[len(PRODUCED_HEAD) :]):
        line, column = query.location(len(PRODUCED_HEAD) + found.start() + 1, statement)
        assert lines[line - 1][column - 1] == (found[0] if len(found[0]) == 1 else ":")


def quotings(text: str) -> Iterator[str]:
    """The ways to hide a text from the parser: strings, identifiers and comments that hold exactly it."""
    yield "'" + text.replace("'", "''") + "'"
    yield "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    yield "e'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    yield "U&'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    yield 'a."' + text.replace('"', '""') + '"'
    tag = "$" + "t" * (max(map(len, re.findall("t+", text)), default=0) + 1) + "$"
    yield f"{tag}{text}{tag}"
    yield "/* a comment " + re.sub(r"\*/|/\*", "", text.replace("*", "")) + " */ 0"
    yield "0 " + "".join(f"-- just a comment {line}\n" for line in text.split("\n") if "given" not in line.lower())


@given(QUOTABLE)
def test_text_inside_quotes_or_comments_is_no_parameter(directory: Path, text: str) -> None:
    for quoted in quotings(text):
        query = load(directory, f"{HEAD}SELECT {quoted}, 0")["q"]
        assert query.parameters == ()
        assert query.statement(()).text == f"{PRODUCED_HEAD}SELECT {quoted}, 0"
        (other,) = load(directory, f"{HEAD}SELECT {quoted}, :x::text")["q"].variants()
        assert other.text == f"{PRODUCED_HEAD}SELECT {quoted}, $1::text"


@given(EDGE_CASE_TEXT)
def test_tokens_cover_text_or_position_is_refused(text: str) -> None:
    position, refused = 0, None
    try:
        for token in tokens(text):
            assert token.start == position < token.end
            assert token.opened <= token.start
            position = token.end
    except LexError as error:
        refused = error.offset
    assert position == len(text) if refused is None else position <= refused < len(text)


@given(EDGE_CASE_TEXT)
def test_token_alone_lexes_to_itself(text: str) -> None:
    try:
        found = list(tokens(text))
    except LexError:
        return
    for token in found:
        if token.opened == token.start:
            alone = text[token.start : token.end]
            assert {again.kind for again in tokens(alone)} == {token.kind}
            assert token.kind is Kind.CODE or len(list(tokens(alone))) == 1


@given(
    EDGE_CASE_TEXT
    | st.lists(st.sampled_from([HEAD, "-- name: b :one\n", "SELECT :a", " AND :b -- if given\n", ";", "\n", "'", "("]))
    .map("".join)
    .flatmap(lambda text: EDGE_CASE_TEXT.map(lambda ending: text + ending))
    | st.binary(max_size=20).map(lambda data: HEAD.encode() + data)
)
def test_any_file_is_read_or_refused_with_valid_position(directory: Path, content: str | bytes) -> None:
    data = content.encode() if isinstance(content, str) else content
    refused, queries = None, dict[str, Query]()
    try:
        queries = load(directory, data)
    except SqlFileError as error:
        refused = error
    if refused is not None:
        lines = data.split(b"\n")
        assert 1 <= refused.line <= len(lines)
        assert 1 <= refused.column <= len(lines[refused.line - 1].decode(errors="replace")) + 1
        return
    assert queries
    assert load(directory, data) == queries
    for query in queries.values():
        for statement in query.variants():
            assert statement.text.startswith("-- name: some_file.")
            assert set(statement.parameters) >= query.required


@given(st.lists(st.frozensets(st.sampled_from("abcd"), min_size=1), max_size=6), st.frozensets(st.sampled_from("abcd")))
def test_optional_line_stays_exactly_when_all_parameters_are_given(
    directory: Path, groups: list[frozenset[str]], chosen: frozenset[str]
) -> None:
    rows = [" ".join(f"AND :{name}" for name in sorted(group)) for group in groups]
    written = "".join(f"{row} -- if given\n" for row in rows)
    query = load(directory, f"{HEAD}SELECT :z WHERE true\n{written}LIMIT :y;")["q"]
    assert set(query.optional) == set(groups)
    assert query.required == {"y", "z"}
    assert set(query.parameters) == {"y", "z"}.union(*groups)
    statement = query.statement((chosen & set(query.parameters)) | {"y", "z"})
    lines = statement.text.split("\n")
    assert len(lines) == len(groups) + 3
    numbers = {name: f"${number}" for number, name in enumerate(statement.parameters, 1)}
    for group, row, line in zip(groups, rows, lines[2:-1], strict=True):
        expected = re.sub(r":(\w)", lambda found: numbers[found[1]], row) + " -- if given" if group <= chosen else ""
        assert line == expected
    variants = list(query.variants())
    assert statement in variants
    assert len({variant.text for variant in variants}) == len(variants)
    every = {
        query.statement({"y", "z", *(n for b, n in enumerate("abcd") if m >> b & 1 and n in query.parameters)})
        for m in range(16)
    }
    assert every == set(variants)


@given(EDGE_CASE_TEXT)
def test_any_text_is_split_without_a_gap_and_as_a_query_where_that_is_possible(text: str) -> None:
    found = list(tokens_of_any(text))
    assert "".join(text[token.start : token.end] for token in found) == text
    with suppress(LexError):
        assert list(tokens(text)) == found
