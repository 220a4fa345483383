"""Named-query files: how they are read, the statements they produce, and every mistake in one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nexgent_db.errors import QueryBindingError, SqlFileError
from nexgent_db.queries.parser import MAX_OPTIONAL_GROUPS
from nexgent_db.queries.sqlfile import load_directory, load_file
from nexgent_db.queries.statement import Cardinality, Query

HEAD = "-- name: q :many\n"
Load = Callable[[str], Query]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes, name: str = "positions.sql") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def load(write: Callable[[str | bytes], Path]) -> Load:
    """The first query of a file with this content; a name line is put before it unless it has one."""

    def load(content: str) -> Query:
        if "-- name: " not in content:
            content = HEAD + content
        return next(iter(load_file(write(content)).queries.values()))

    return load


# --- The file ------------------------------------------------------------------------------------

FILE = """\
-- Positions: one row per open position.
--
-- Lock order: agent, wallet, the rest.

/* A block comment
   is header, too. */

-- name: find_by_id :optional
-- The open position,
-- or nothing.

-- not part of the promise
SELECT id
FROM agent_positions -- why
WHERE id = :position_id; -- behind

-- ---- lists ----

-- name: list_by_agent :many
SELECT id FROM agent_positions
WHERE agent_id = :agent_id
  AND wallet_address = :wallet_address   -- if given
  AND amount BETWEEN :lo AND :hi  -- if given
LIMIT :limit
"""


def test_file_has_header_and_its_queries_in_order(write: Callable[[str], Path]) -> None:
    path = write(FILE)
    file = load_file(path)
    assert file.name == "positions"
    assert file.path == path
    assert file.header == (
        "Positions: one row per open position.\n\nLock order: agent, wallet, the rest.\n\n"
        "A block comment\nis header, too."
    )
    assert list(file.queries) == ["find_by_id", "list_by_agent"]


def test_query_has_name_location_doc_and_parameters(write: Callable[[str], Path]) -> None:
    path = write(FILE)
    find, listing = load_file(path).queries.values()
    assert (find.file, find.name, find.qualified_name) == ("positions", "find_by_id", "positions.find_by_id")
    assert (find.path, find.line, find.cardinality) == (path, 8, Cardinality.OPTIONAL)
    assert find.doc == "The open position,\nor nothing."
    assert find.parameters == ("position_id",)
    assert (find.required, find.optional) == (frozenset({"position_id"}), ())
    assert (listing.line, listing.doc) == (19, "")
    assert listing.parameters == ("agent_id", "wallet_address", "lo", "hi", "limit")
    assert listing.required == {"agent_id", "limit"}
    assert listing.optional == (frozenset({"wallet_address"}), frozenset({"lo", "hi"}))
    assert listing.parameter_location("hi") == (23, 30)


def test_text_has_qualified_name_same_lines_and_ends_at_last_token(
    write: Callable[[str], Path],
) -> None:
    find, listing = load_file(write(FILE)).queries.values()
    assert find.statement(["position_id"]).text == (
        "-- name: positions.find_by_id :optional\n\n\n\n\nSELECT id\nFROM agent_positions -- why\nWHERE id = $1"
    )
    statement = listing.statement({"agent_id", "limit", "hi", "lo"})
    assert statement.text == (
        "-- name: positions.list_by_agent :many\n"
        "SELECT id FROM agent_positions\n"
        "WHERE agent_id = $1\n"
        "\n"
        "  AND amount BETWEEN $2 AND $3  -- if given\n"
        "LIMIT $4"
    )
    assert statement.parameters == ("agent_id", "lo", "hi", "limit")


def test_loaded_objects_cannot_be_changed(write: Callable[[str], Path]) -> None:
    file = load_file(write(FILE))
    query = file.queries["find_by_id"]
    with pytest.raises(TypeError):
        file.queries["other"] = query  # type: ignore[index]
    with pytest.raises(AttributeError):
        query.name = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        query.statement(["position_id"]).text = ""  # type: ignore[misc]


@pytest.mark.parametrize("cardinality", list(Cardinality))
def test_every_cardinality_is_accepted(load: Load, cardinality: Cardinality) -> None:
    query = load(f"-- name: q :{cardinality}\nSELECT 1")
    assert query.cardinality is cardinality
    assert query.statement(()).text == f"-- name: positions.q :{cardinality}\nSELECT 1"


def test_crlf_and_byte_order_mark_are_removed(write: Callable[[str], Path]) -> None:
    plain = load_file(write(FILE)).queries
    other = load_file(write("\ufeff" + FILE.replace("\n", "\r\n"))).queries
    assert plain == other


def test_semicolon_may_end_optional_line(load: Load) -> None:
    query = load("SELECT 1 WHERE true\n  AND :a;  -- if given\n")
    assert query.statement([]).text == "-- name: positions.q :many\nSELECT 1 WHERE true"
    assert query.statement(["a"]).text.splitlines()[1:] == ["SELECT 1 WHERE true", "  AND $1"]


def test_commented_out_block_is_no_query(write: Callable[[str], Path]) -> None:
    file = load_file(write(f"{HEAD}SELECT 1;\n/*\n-- name: gone :one\nSELECT 2;\n*/\n"))
    assert list(file.queries) == ["q"]


def test_comment_about_names_and_given_values_is_prose(load: Load) -> None:
    query = load(
        "-- names: see below\n-- name of the token\n-- one row: many\n"
        f"{HEAD}-- If given, the wallet narrows the list.\nSELECT 1 -- name: shown to users\n"
    )
    assert query.doc == "If given, the wallet narrows the list."


# --- The lexer -----------------------------------------------------------------------------------

NO_PARAMETER = {
    "string": "':x'",
    "doubled quote": "'it''s :x'",
    "backslash is plain in a string": r"'\' || ':x'",
    "escape string": r"E'\':x'",
    "lower-case escape string": r"e'\\\':x'",
    "escape string with doubled quote": "E''':x'",
    "word that ends in e is no prefix": "date'2020-01-01' = '\\'",
    "unicode string": r"U&'\0061 :x'",
    "bits, hex and national strings": "B'1' || X'1F' || N':x'",
    "continued string": "'a'\n':x'",
    "continued over a comment": "'a' -- it's :x\n -- :x\n':x'",
    "continued escape string stays one": "E'a'\n'\\':x'",
    "string with a newline": "'\n:x\n'",
    "quoted identifier": '"a "" :x"',
    "unicode identifier": r'U&"d\0061 :x"',
    "dollar quote": "$$ ' :x $ $$",
    "tagged dollar quote": "$a$ $$ :x $b$ $a$",
    "dollar quote with a non-ASCII tag": "$é1$ :x $$ $é1$",
    "dollar sign in a word": "a$b$ + '$b$ :x'",
    "escape string after a dollar quote": r"$$a$$ E'\' :x'",
    "line comment": "1 -- it's :x\n",
    "comment behind an operator": "1 +-- it's :x\n2",
    "nested comments": "1 /* :x /* ' :x */ $$ :x */",
    "slash in a comment": "1 /*/ :x */",
    "cast": "'1'::int::text",
    "assignment": "f(x := 1)",
    "slice of figures": "a[1:2]",
    "slice from the start": "a[:2]",
    "slice to the end": "a[2:]",
    "spaced slice": "a[lo : hi]",
    "empty slice": "a[:]",
    "JSON key": "JSON_OBJECT('a':'b')",
    "JSON operators": "a->'b'->>'c' #> d #>> e @> f ? g ?| h ?& i @? j @@ k",
    "modulo": "a % b %(c) % s",
    "similarity": "a %> b OR a <% s OR a <%s",
    "percent in a string": "'50% %s %(x)s'",
    "letters beyond ASCII": "größe + naïve",
}


@pytest.mark.parametrize("sql", NO_PARAMETER.values(), ids=NO_PARAMETER)
def test_text_without_parameters_is_sent_as_written(load: Load, sql: str) -> None:
    query = load(f"SELECT {sql}, 1")
    assert query.parameters == ()
    assert query.statement(()).text == f"-- name: positions.q :many\nSELECT {sql}, 1"


PARAMETERS = {
    "plain": (":a", "$1", ["a"]),
    "cast": (":a::uuid", "$1::uuid", ["a"]),
    "twice": (":a + :b + :a", "$1 + $2 + $1", ["a", "b"]),
    "figures and underscores": (":a_1, :a_12, :a_1", "$1, $2, $1", ["a_1", "a_12"]),
    "index": ("x[:a]", "x[$1]", ["a"]),
    "slice by two": ("x[:a : :b]", "x[$1 : $2]", ["a", "b"]),
    "slice up to": ("x[: :b]", "x[: $1]", ["b"]),
    "slice from": ("x[:a :]", "x[$1 :]", ["a"]),
    "cast in a slice": ("x[:a::int : 2]", "x[$1::int : 2]", ["a"]),
    "behind an operator": ("x=:a OR -:b<@:c", "x=$1 OR -$2<@$3", ["a", "b", "c"]),
    "behind an assignment": ("f(x:=:a)", "f(x:=$1)", ["a"]),
    "behind a bracket": ("IN (:a,:b)", "IN ($1,$2)", ["a", "b"]),
    "behind a comment": ("/* : */:a", "/* : */$1", ["a"]),
    "behind modulo": ("x %:a", "x %$1", ["a"]),
    "between strings": ("':x' || :a || E'\\':x'", "':x' || $1 || E'\\':x'", ["a"]),
    "between dollar quotes": ("$$:x$$ || :a || $t$:x$t$", "$$:x$$ || $1 || $t$:x$t$", ["a"]),
}


@pytest.mark.parametrize(("sql", "produced", "names"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters_become_numbers_in_order_of_appearance(
    load: Load, sql: str, produced: str, names: list[str]
) -> None:
    query = load(f"SELECT {sql}")
    assert list(query.parameters) == names
    statement = query.statement(names)
    assert statement.text.splitlines()[1] == f"SELECT {produced}"
    assert list(statement.parameters) == names


# --- Variants ------------------------------------------------------------------------------------

THREE_GROUPS = """SELECT 1 WHERE true
AND :a -- if given
AND :b -- if given
AND :a AND :b -- if given
AND :a IS NULL -- if given
"""


def test_each_possible_set_of_lines_is_one_variant(load: Load) -> None:
    query = load(THREE_GROUPS)
    assert list(map(sorted, query.optional)) == [["a"], ["b"], ["a", "b"]]
    variants = list(query.variants())
    assert [v.parameters for v in variants] == [(), ("a",), ("b",), ("a", "b")]
    assert len({v.text for v in variants}) == 4
    assert variants[1].text.splitlines()[2:] == ["AND $1 -- if given", "", "", "AND $1 IS NULL"]


def test_query_without_optional_lines_is_its_only_variant(load: Load) -> None:
    query = load("SELECT :a")
    assert list(query.variants()) == [query.statement(["a"])]


def test_variant_is_cached(load: Load) -> None:
    query = load("SELECT 1\nWHERE :a = :b -- if given")
    assert query.statement(["b", "a"]) is query.statement(("a", "b", "a"))
    assert query.statement([]) is query.statement(["a"])  # the group is not complete: same lines, same object
    assert next(query.variants()) is query.statement([])


def test_unknown_parameter_error_names_it_and_known_ones(load: Load) -> None:
    query = load("SELECT :a, :b")
    with pytest.raises(QueryBindingError, match=r"positions\.sql:1: positions\.q has no parameter :c; it has :a, :b$"):
        query.statement(["c"])
    with pytest.raises(QueryBindingError, match="no parameter :c"):
        query.parameter_location("c")


def test_missing_required_parameter_is_named(load: Load) -> None:
    with pytest.raises(QueryBindingError, match=r"positions\.q needs :a, :b$"):
        load("SELECT :b, :c, :a").statement(["c"])


def test_sixteen_groups_are_allowed(load: Load) -> None:
    lines = "".join(f"\nAND :p{n} -- if given" for n in range(MAX_OPTIONAL_GROUPS))
    assert len(load(f"SELECT 1 WHERE true{lines}").optional) == MAX_OPTIONAL_GROUPS


# --- Locations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marked", "place"),
    [
        ("SELECT", (3, 1)),
        ("AS bb", (3, 29)),
        ("$1 AS", (3, 8)),
        ("1 AS", (3, 8)),
        ("wrong", (5, 5)),
        ("$3", (6, 7)),
        ("positions.q", (1, 1)),
        ("q :many", (1, 10)),
    ],
)
def test_position_in_text_maps_to_file(load: Load, marked: str, place: tuple[int, int]) -> None:
    query = load(
        f"{HEAD}-- doc\nSELECT :parameter_with_name AS bb, :b\nFROM é WHERE :x -- if given\nAND wrong = :b\nAND c=:ccc;"
    )
    statement = query.statement(["parameter_with_name", "b", "ccc"])
    assert query.location(statement.text.index(marked) + 1, statement) == place


def test_position_past_end_maps_past_last_line(load: Load) -> None:
    query = load("SELECT (:name\n  ;")
    statement = query.statement(["name"])
    assert query.location(len(statement.text) + 1, statement) == (2, 14)
    assert query.location(10_000, statement) == (2, 14)
    assert query.location(0, statement) == (1, 1)


def test_every_character_of_text_maps_to_its_line(load: Load) -> None:
    query = load("SELECT :aaa,\n  ':x', :b\nFROM t\nWHERE :c -- if given\nAND :aaa = :b")
    content = query.path.read_text().splitlines()
    for statement in query.variants():
        for position, character in enumerate(statement.text, 1):
            line, column = query.location(position, statement)
            assert line == statement.text.count("\n", 0, position - 1) + 1
            if line > 1 and character not in "$123456789\n":
                assert content[line - 1][column - 1] == character


# --- Refusals ------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[str, int, int, str]] = {
    # outside a block
    "SQL before the first block": ("-- header\n\n  SELECT 1;\n", 3, 3, "before the first name line"),
    "string before the first block": ("'x'", 1, 1, "before the first name line"),
    "parameter before the first block": (" :x", 1, 2, "before the first name line"),
    "no block": ("-- only a header\n", 1, 1, "no name line"),
    "empty file": ("", 1, 1, "no name line"),
    # name lines
    "name line without space": ("\n--name: a :one\nSELECT 1", 2, 1, "is written -- name: find_by_id :optional"),
    "name line in capitals": ("-- Name: a :one\nSELECT 1", 1, 1, "is written"),
    "name line with a space before the colon": ("-- name : a :one\nSELECT 1", 1, 1, "is written"),
    "name line with two spaces": ("--  name: a :one\nSELECT 1", 1, 1, "is written"),
    "name line without colon": ("-- name a :one\nSELECT 1", 1, 1, "is written"),
    "name line without colon and space": ("-- name a:one\nSELECT 1", 1, 1, "is written"),
    "name misspelt": (f"{HEAD}SELECT 1\n-- nmae: b :one\nSELECT 2", 3, 1, "is written"),
    "three dashes": ("--- name: a :one\nSELECT 1", 1, 1, "is written"),
    "indented name line": (" -- name: a :one\nSELECT 1", 1, 2, "column 1"),
    "name line behind code": (f"{HEAD}SELECT 1; -- name: b :one\nSELECT 2", 2, 11, "column 1"),
    "no name": ("-- name: :one\nSELECT 1", 1, 10, "lower snake case"),
    "name with capitals": ("-- name: findById :one\nSELECT 1", 1, 10, "lower snake case"),
    "name with a hyphen": ("-- name: find-by-id :one\nSELECT 1", 1, 10, "lower snake case"),
    "name with a leading figure": ("-- name: 1a :one\nSELECT 1", 1, 10, "lower snake case"),
    "name that is a keyword": ("-- name: import :one\nSELECT 1", 1, 10, "import is a Python keyword"),
    "no cardinality": ("-- name: abc\nSELECT 1", 1, 13, "cardinality is missing: :one, :optional"),
    "no cardinality, space": ("-- name: abc  \nSELECT 1", 1, 13, "cardinality is missing"),
    "cardinality without colon": ("-- name: abc one\nSELECT 1", 1, 14, "expected a cardinality"),
    "unknown cardinality": ("-- name: abc :all\nSELECT 1", 1, 14, "unknown cardinality :all: :one, :optional"),
    "cardinality in capitals": ("-- name: abc :One\nSELECT 1", 1, 14, "unknown cardinality :One"),
    "cardinality glued to the name": ("-- name: abc:one\nSELECT 1", 1, 13, "space is missing"),
    "something behind the cardinality": ("-- name: abc :one  row\nSELECT 1", 1, 20, "nothing may follow"),
    "two queries of one name": (f"{HEAD}SELECT 1;\n\n{HEAD}SELECT 2", 4, 10, "q is already in line 1"),
    # statements
    "no statement": (f"-- h\n{HEAD}-- doc\n", 2, 1, "q has no statement"),
    "no statement before the next": (f"{HEAD}-- name: b :one\nSELECT 1", 1, 1, "q has no statement"),
    "only a semicolon": (f"{HEAD} ;", 2, 2, "q has no statement"),
    "two statements": (f"{HEAD}SELECT 1;\nSELECT 2;", 3, 1, "ends in line 2"),
    "two statements in a line": (f"{HEAD}SELECT 1; SELECT 2;", 2, 11, "one statement"),
    "two semicolons": (f"{HEAD}SELECT 1;;", 2, 10, "one statement"),
    # tokens
    "open string": (f"{HEAD}SELECT 'a\n", 2, 8, "unterminated string"),
    "open string with doubled quotes": (f"{HEAD}SELECT 'it''s ''", 2, 8, "unterminated string"),
    "open escape string": (f"{HEAD}SELECT E'a\\'", 2, 8, "unterminated string"),
    "open continued escape string": (f"{HEAD}SELECT E'a'\n  '\\'", 3, 3, "unterminated string"),
    "open quoted identifier": (f'{HEAD}SELECT "a', 2, 8, "unterminated quoted identifier"),
    "open dollar quote": (f"{HEAD}SELECT $a$ $$ $b$", 2, 8, r"unterminated dollar quote: no closing \$a\$"),
    "open comment": (f"{HEAD}SELECT 1 /* /* */", 2, 10, "unterminated comment: 1 more"),
    "string over the next block": (f"{HEAD}SELECT 'a;\n-- name: b :one\nSELECT 'b'", 2, 8, "name line in line 3"),
    "positional parameter": (f"{HEAD}SELECT a, $1", 2, 11, r"positional parameter \$1: write :name"),
    "lone dollar sign": (f"{HEAD}SELECT $a", 2, 8, r"'\$' \(U\+0024\) outside"),
    "psycopg's placeholder": (f"{HEAD}SELECT a = %(x)s", 2, 12, r"%\(x\)s is psycopg's placeholder"),
    "psycopg's placeholder, binary": (f"{HEAD}SELECT a, %(x)b", 2, 11, r"%\(x\)b is psycopg's"),
    "bare placeholder behind =": (f"{HEAD}SELECT a = %s", 2, 12, "%s is psycopg's"),
    "bare placeholder in brackets": (f"{HEAD}SELECT (1, %s)", 2, 12, "%s is psycopg's"),
    "bare placeholder behind <": (f"{HEAD}SELECT a < %s", 2, 12, "%s is psycopg's"),
    "parameter in capitals": (f"{HEAD}SELECT :Abc", 2, 8, "lower snake case, not :Abc"),
    "parameter with a leading underscore": (f"{HEAD}SELECT :_a", 2, 8, "lower snake case, not :_a"),
    "parameter with a letter beyond ASCII": (f"{HEAD}SELECT :naïve", 2, 8, "lower snake case, not :naïve"),
    "parameter with a dollar sign": (f"{HEAD}SELECT :a$b", 2, 8, r"lower snake case, not :a\$b"),
    "parameter that is a keyword": (f"{HEAD}SELECT :from", 2, 8, ":from is a Python keyword"),
    "slice of columns without space": (f"{HEAD}SELECT a[lo:hi]", 2, 12, "slice or a parameter"),
    "slice of parameters without space": (f"{HEAD}SELECT a[:lo:hi]", 2, 13, "slice or a parameter"),
    "slice from a figure": (f"{HEAD}SELECT a[1:hi]", 2, 11, "slice or a parameter"),
    "slice from a call": (f"{HEAD}SELECT a[f(1):hi]", 2, 14, "slice or a parameter"),
    "parameter glued to a keyword": (f"{HEAD}SELECT 1 LIMIT:n", 2, 15, "slice or a parameter"),
    "parameter glued to a string": (f"{HEAD}SELECT JSON_OBJECT('a':b)", 2, 23, "slice or a parameter"),
    "three colons": (f"{HEAD}SELECT a:::b", 2, 9, "three colons"),
    "psql command": (f"{HEAD}SELECT 1 \\gset", 2, 10, "psql commands"),
    "brace": (f"{HEAD}SELECT {{x}}", 2, 8, r"'\{' \(U\+007B\) outside"),
    "no-break space": (f"{HEAD}SELECT a,\u00a0b", 2, 10, r"U\+00A0 outside"),
    "typographic quote": (f"{HEAD}SELECT ‘b’", 2, 8, r"U\+2018\) outside"),
    "byte order mark in the middle": (f"{HEAD}SELECT \ufeff1", 2, 8, r"U\+FEFF outside"),
    "control character": (f"{HEAD}SELECT \x1b1", 2, 8, r"U\+001B outside"),
    # characters
    "NUL": (f"{HEAD}-- a\0b\nSELECT 1", 2, 5, "NUL"),
    "lone carriage return": (f"{HEAD}SELECT 1 -- a\rb", 2, 14, "carriage return without"),
    # optional lines
    "optional line without parameter": (f"{HEAD}SELECT 1\nAND true -- if given", 3, 10, "has no parameter"),
    "optional mark alone": (f"{HEAD}SELECT :a\n-- if given\n", 3, 1, "has no parameter"),
    "optional line with its parameter in a comment": (f"{HEAD}SELECT 1 /* :a */ -- if given", 2, 19, "no parameter"),
    "optional mark without space": (f"{HEAD}SELECT 1\nAND :a --if given", 3, 8, "write exactly -- if given"),
    "optional mark in capitals": (f"{HEAD}SELECT 1\nAND :a -- If given", 3, 8, "write exactly"),
    "optional mark with two spaces": (f"{HEAD}SELECT 1\nAND :a -- if  given", 3, 8, "write exactly"),
    "optional mark in one word": (f"{HEAD}SELECT 1\nAND :a -- ifgiven", 3, 8, "write exactly"),
    "optional mark with a stop": (f"{HEAD}SELECT 1\nAND :a -- if given.", 3, 8, "write exactly"),
    "optional mark misspelt": (f"{HEAD}SELECT 1\nAND :a -- if givne", 3, 8, "write exactly"),
    "optional mark cut": (f"{HEAD}SELECT 1\nAND :a -- if give", 3, 8, "write exactly"),
    "optional mark with a reason": (f"{HEAD}SELECT 1\nAND :a -- if given: all else", 3, 8, "write exactly"),
    "optional mark behind a reason": (f"{HEAD}SELECT 1\nAND :a -- only if given", 3, 8, "write exactly"),
    "optional mark misspelt, alone": (f"{HEAD}SELECT 1\n--if given\nAND :a", 3, 1, "write exactly"),
    "optional mark in a block comment": (f"{HEAD}SELECT 1\nAND :a /* if given */", 3, 8, "write -- if given at"),
    "optional line opens a bracket": (f"{HEAD}SELECT 1\nAND (:a -- if given\n)", 3, 5, r"must close the \( that it"),
    "optional line opens a square bracket": (f"{HEAD}SELECT 1\nAND a[:a -- if given\n]", 3, 6, r"must close the \["),
    "optional line closes a bracket": (f"{HEAD}SELECT (1\nAND :a) -- if given", 3, 7, r"must open the \) that it"),
    "optional line crosses brackets": (f"{HEAD}SELECT 1\nAND (a[:a)] -- if given", 3, 10, r"must open the \)"),
    "optional line begins in a string": (f"{HEAD}SELECT 'a\nb' = :a -- if given", 3, 1, "begin inside .* line 2"),
    "optional line begins in a comment": (f"{HEAD}SELECT 1 /*\n*/ AND :a -- if given", 3, 1, "begin inside"),
    "optional line begins in a dollar quote": (f"{HEAD}SELECT $$\n$$ = :a -- if given", 3, 1, "begin inside"),
    "optional line continues a string": (f"{HEAD}SELECT 'a'\n'b' = :a -- if given", 3, 1, "begin inside"),
    "optional line is continued": (f"{HEAD}SELECT 1\nAND :a = 'a' -- if given\n'b'", 3, 10, "cannot end inside"),
    "optional and required": (f"{HEAD}SELECT :a\nAND :b = :a -- if given", 3, 10, ":a is optional .* line 2 requires"),
    "optional, then required": (
        f"{HEAD}SELECT 1\nAND :a -- if given\n LIMIT :a",
        3,
        5,
        ":a is optional .* line 4 requires",
    ),
    "all optional": (f"-- h\n{HEAD}SELECT :a -- if given\n, :b -- if given\n", 2, 1, "every line of q is optional"),
    "seventeen groups": (
        HEAD + "SELECT 1 WHERE true" + "".join(f"\nAND :p{n} -- if given" for n in range(17)),
        19,
        10,
        "more than 16 groups",
    ),
}


@pytest.mark.parametrize(("content", "line", "column", "problem"), REFUSED.values(), ids=REFUSED)
def test_mistake_is_reported_with_line_and_column(
    write: Callable[[str], Path], content: str, line: int, column: int, problem: str
) -> None:
    path = write(content)
    with pytest.raises(SqlFileError, match=problem) as caught:
        load_file(path)
    assert (caught.value.path, caught.value.line, caught.value.column) == (path, line, column)


def test_columns_count_characters_also_after_byte_order_mark(write: Callable[[str], Path]) -> None:
    with pytest.raises(SqlFileError) as caught:
        load_file(write("\ufeff/* äöü */ 1"))
    assert (caught.value.line, caught.value.column) == (1, 11)


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [
        (b"\xff", 1, 1),
        (b"\xef\xbb\xbf-\xff", 1, 2),
        (b"-- \xc3\xa4\xfc\n", 1, 5),
        (b"\xef\xbb\xbf-- a\r\n-- \xc3\xa4 \xc3", 2, 6),
        ("-- name: a :one".encode("utf-16"), 1, 1),
        (b"-- \xed\xa0\x80", 1, 4),
    ],
)
def test_invalid_utf8_is_located(write: Callable[[bytes], Path], content: bytes, line: int, column: int) -> None:
    with pytest.raises(SqlFileError, match="not UTF-8: byte 0x") as caught:
        load_file(write(content))
    assert (caught.value.line, caught.value.column) == (line, column)
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SqlFileError, match=r"gone\.sql:1:1: cannot be read: No such file") as caught:
        load_file(tmp_path / "gone.sql")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


@pytest.mark.parametrize("name", ["Positions.sql", "a-b.sql", "a.b.sql", "1a.sql", "class.sql", "a\nb.sql"])
def test_invalid_file_name_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(f"{HEAD}SELECT 1")
    with pytest.raises(SqlFileError, match="lower snake case"):
        load_file(path)


# --- Directories ---------------------------------------------------------------------------------


def test_directory_loads_sql_files_by_name(tmp_path: Path) -> None:
    for name in ("wallets.sql", "agents.sql", "README.md", ".#agents.sql"):
        (tmp_path / name).write_text(f"{HEAD}SELECT 1")
    files = load_directory(str(tmp_path))
    assert list(files) == ["agents", "wallets"]
    assert files["agents"].queries["q"].qualified_name == "agents.q"


def test_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SqlFileError, match=r"no \.sql file"):
        load_directory(tmp_path)


def test_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SqlFileError, match="cannot be read"):
        load_directory(tmp_path / "gone")
