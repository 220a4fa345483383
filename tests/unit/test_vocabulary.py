"""Words that the glossary has replaced stay out of code, SQL, messages, the command line, tests and pages.

The migrations' own text is not read: every database that has a migration records a checksum of its whole file, comments
included.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]

# The files of each area, as globs below the checkout. Generated files follow their sources, which are read.
SQL = ("sql/*.sql",)
CODE = ("nexgent_db/**/*.py", "nexgent_db/**/*.lua")
CACHE = (
    "nexgent_db/aio/cache/*.py",
    "nexgent_db/cache/**/*.py",
    "nexgent_db/cache/**/*.lua",
    "nexgent_db/models/cache.py",
)
MIGRATIONS = ("nexgent_db/migrations/*.py", "nexgent_db/cli/migrations.py", "nexgent_db/cli/adopt.py")
CALLS = ("nexgent_db/*.py", "nexgent_db/aio/**/*.py", "nexgent_db/models/*.py", "nexgent_db/replay/*.py")
TESTS = ("tests/**/*.py",)
PAGES = ("*.md", "docs/pages/**/*.md", "sql/*.md", "migrations/*.md")
EVERYWHERE = (*SQL, *CODE, *TESTS, *PAGES)
GENERATED = ("sql/schema.sql", "nexgent_db/sync/*", "tests/integration/sync/*")


@dataclass(frozen=True)
class Word:
    """A regular expression of the old word, and the standard word.

    ``allowed`` are globs of files where the old word has an ordinary meaning, each with the reason. In SQL, ``code``
    leaves comments out.
    """

    pattern: str
    better: str
    areas: Sequence[str] = EVERYWHERE
    code: bool = False
    allowed: dict[str, str] = field(default_factory=dict)


def cte(name: str) -> str:
    """Where SQL defines or reads a CTE of this name; the name may be a value or a column as well."""
    return rf"\b{name}\s+AS\s*\(|\b(?:FROM|JOIN|USING)\s+{name}\b|\b{name}\.\w"


WORDS = (
    # SQL
    Word(r"\bprior\b", "existing_request", SQL, code=True),
    Word(r"\beffect\b", "balance_change", SQL, code=True),
    Word(r"\bgo\b", "accepted", SQL, code=True),
    Word(r"\bdue\b", "accepted_change", SQL, code=True),
    Word(r"\bmoved\b", "updated_balances", SQL, code=True),
    Word(r"\bcounted\b", "incremented_count", SQL, code=True),
    Word(r"\bgiven_up\b", "abandoned_positions", SQL, code=True),
    Word(r"\bfigures\b", "details", SQL, code=True),
    Word(r"\brefusal\b", "rejection", SQL),
    Word(cte("ledger"), "inserted_transaction", SQL, code=True),
    Word(cte("made"), "saved_request", SQL, code=True),
    Word(cte("held"), "holdings", SQL, code=True),
    Word(r"\btrades\.post\b|_Statements\.post\b|queries\[.post.\]", "trades.record_transaction"),
    Word(r"\bfigures\b", "details", ("nexgent_db/queries/trade_results.py", "nexgent_db/models/trades.py")),
    Word(r"\bnobody\b", "the subject's name", SQL),
    # Tests
    Word(
        r"\bdef test_(?:a|an|the|what|nothing|nobody|somebody|whoever|whatever)_",
        "subject_condition_result",
        TESTS,
    ),
    Word(r"\b(?:Async)?Bell\b|\bbell\b", "Notifier", TESTS),
    Word(r"\bHeld\b|support\.(?:\w+\.)?held\b", "PausedThread, pause_points", TESTS),
    Word(r"(?i)nasty", "edge case", TESTS),
    Word(r"\bcache_machine\b", "cache_state_machine", TESTS),
    Word(r"\bcache_witness\b", "cache_model", TESTS),
    # Cache: classes
    Word(r"\bPosts\b", "WriteBehindQueue", (*CODE, *TESTS)),
    Word(r"\bCacheLink\b", "CacheClient"),
    Word(r"\bCacheUpkeep\b", "CacheMaintenance"),
    Word(r"\bCacheWhole\b", "CacheAdmin"),
    Word(r"\bCacheWrites\b|\bfollower\b", "CacheWriter"),
    Word(r"\bCacheHelpers\b", "Coordination"),
    Word(r"\b_?link\b", "client", CACHE),
    Word(r"\b_Wire\b", "PipelinedConnection"),
    Word(r"\bSweep\b", "Reconciler"),
    Word(r"\b(?:walk|walker)\b", "scan pass, scanner", CACHE),
    Word(r"\bnear[ _]cache\b", "local cache"),
    Word(r"\bNearRows\b|\bnear_rows\b", "LocalStore, local rows"),
    Word(r"\bMoment\b", "CacheTimestamp"),
    Word(r"\bbegan\b", "started_at", CODE),
    # Cache: verbs
    Word(r"\bpost\b", "send", CACHE),
    Word(r"\bsettle\b", "flush", CACHE),
    Word(r"\bhang_up\b|\bcut\b", "disconnect", CACHE),
    Word(r"\bmeet\b", "verify_database", CACHE),
    Word(r"\bgreet\b", "handshake", CACHE),
    Word(r"\bbelieve\b", "mark_valid", CACHE),
    Word(r"\bdistrust\b", "invalidate_epoch", CACHE),
    Word(r"\bfound_well\b", "mark_reachable"),
    Word(r"\b_patiently\b", "_retry"),
    Word(r"\bmend(?:s|ed|ing)?\b", "repair"),
    Word(r"\bdrain(?:s|ed|ing)?\b", "relay", (*CACHE, "nexgent_db/cli/cache.py", *PAGES)),
    Word(r"\bforget_changes\b", "compact_outbox"),
    Word(r"\.follows\b|\bfollows\s*[:=(]", "accepts_writes", CACHE),
    # Cache: nouns
    Word(r"(?<!math\.)\bfloors?\b", "minimum-version fence", (*CACHE, *PAGES)),
    Word(r"\bfillings?\b", "load lease", (*CACHE, *PAGES)),
    Word(r"\bturn\b", "generation", CACHE),
    Word(r"\bmark\b", "load token", CACHE),
    Word(r"\bghosts?\b", "orphan"),
    Word(r"\bahead\b", "newer_than_database", CACHE),
    Word(r"\baltered\b", "content_mismatch", CACHE),
    Word(r"\bmembers\b", "membership_mismatch", ("nexgent_db/models/cache.py",)),
    Word(r"\bcompanions?\b", "linked_keys"),
    Word(r"(?<!hash )\btag\b", "owner", CACHE),
    Word(
        r"\beverything\b",
        "flush_all",
        CACHE,
        allowed={
            "nexgent_db/aio/cache/relay.py": "the stored value of cache_outbox.entity, by a CHECK of a migration",
            "nexgent_db/aio/cache/writer.py": "the stored value of cache_outbox.entity",
            "nexgent_db/models/cache.py": "the stored value of cache_outbox.entity",
        },
    ),
    Word(r"\bmissed\b", "unapplied_writes", (*CACHE, *PAGES)),
    Word(r"\bMOST_[A-Z]+", "MAX_…", CODE),
    Word(r"\b[A-Z]+_AT_ONCE\b", "…_BATCH_SIZE", CODE),
    # Migrations
    Word(r"\bopen_books\b", "ensure_tables"),
    Word(r"\bbooks?\b", "history table"),
    Word(r"\b(?:unfit_rows|UnfitRow)\b|\bunfit rows?\b", "preflight violations"),
    Word(r"\blook_ahead\b|\blook ahead\b", "preflight"),
    Word(r"\bthe history\b(?! tables?\b)", "history table, legacy migrations", MIGRATIONS),
    Word(r"\b_alone\b|\balone\(", "migration_lock", MIGRATIONS),
    Word(r"\blate\b", "out of order", MIGRATIONS),
    Word(r"\bwatched\b", "monitored", MIGRATIONS),
    Word(r"\bmeasured\b", "lock report", MIGRATIONS),
    Word(r"\brefuse_\w+\(", "ensure_…", CODE),
    Word(r"\b(?:tell|tells|told)\b", "report, reported"),
    # API
    Word(
        r"\bOrder\b",
        "Input",
        ("nexgent_db/models/filters.py", "nexgent_db/models/pages.py", "nexgent_db/models/base.py"),
    ),
    Word(r"\bblocks?\b", "transaction", (*CALLS, *PAGES)),
    Word(r"\bgive_back\b|\.take\(", "release, acquire", ("nexgent_db/aio/*.py", "nexgent_db/_concurrency.py")),
    Word(r"\b_replace\(first=|\bcall\.first\b", "setup", (*CODE, *TESTS)),
    Word(r"\bsignal_seen\b", "claim_signal"),
    Word(r"\bremember(?:ed)?\b", "store_result, get_result", (*CACHE, *PAGES)),
    Word(
        r"\breplayed\b",
        "duplicate",
        allowed={
            "nexgent_db/replay/*.py": "the command replay makes the trades of a recorded history",
            "nexgent_db/cli/replay.py": "the command replay",
            "tests/integration/test_cli_cache.py": "a database that the command replay has filled",
            "tests/support/servers/standby.py": "PostgreSQL's word for applying the write-ahead log",
        },
    ),
    Word(r"\bplace_of\b", "decode_cursor"),
    Word(r"\bpage_of\b", "make_page"),
    Word(r"\b_opener\b", "_root"),
    Word(r"\b(?:whoever|somebody)\b", "the subject's name"),
)


def files(root: Path, areas: Sequence[str]) -> Iterator[Path]:
    """The files of these areas, without generated ones, this test and what is no part of the sources."""
    for path in sorted({path for area in areas for path in root.glob(area)}):
        relative = path.relative_to(root)
        generated = any(
            relative.match(glob) or glob.removesuffix("/*") in map(str, relative.parents) for glob in GENERATED
        )
        if not generated and relative.as_posix() != "tests/unit/test_vocabulary.py":
            yield path


def lines(path: Path, *, code: bool) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text().splitlines(), 1):
        yield number, line.partition("--")[0] if code and path.suffix == ".sql" else line


def findings(root: Path, words: Sequence[Word], used: set[str] | None = None) -> list[str]:
    """``file:line: old word: better word`` for each use; ``used`` collects the allowances that were needed."""
    found: list[str] = []
    for word in words:
        pattern = re.compile(word.pattern)
        for path in files(root, word.areas):
            relative = path.relative_to(root)
            for number, line in lines(path, code=word.code):
                for match in pattern.finditer(line):
                    if allowances := [glob for glob in word.allowed if relative.match(glob)]:
                        if used is not None:
                            used.update(allowances)
                        continue
                    found.append(f"{relative.as_posix()}:{number}: {match[0].strip()!r}: use {word.better!r}")
    return found


def test_replaced_words_stay_out_of_sources() -> None:
    found = findings(CHECKOUT, WORDS)
    assert not found, "\n" + "\n".join(found)


def test_every_allowance_is_needed() -> None:
    used: set[str] = set()
    findings(CHECKOUT, WORDS, used)
    assert {glob for word in WORDS for glob in word.allowed} == used


@pytest.mark.parametrize(
    ("file", "text", "finding"),
    [
        ("sql/x.sql", "-- The head.\nWITH go AS (\n", "sql/x.sql:2: 'go': use 'accepted'"),
        ("sql/x.sql", "SELECT result FROM made;", "sql/x.sql:1: 'FROM made': use 'saved_request'"),
        ("sql/x.sql", "-- Rows that somebody holds.", "sql/x.sql:1: 'somebody': use \"the subject's name\""),
        (
            "nexgent_db/a/b.py",
            "Trades\n'trades.post'",
            "nexgent_db/a/b.py:2: 'trades.post': use 'trades.record_transaction'",
        ),
        ("docs/pages/a/b.md", "`trades.post`", "docs/pages/a/b.md:1: 'trades.post': use 'trades.record_transaction'"),
        (
            "tests/unit/test_x.py",
            "def test_what_is_not_asked_is_not_told() -> None: ...",
            "tests/unit/test_x.py:1: 'def test_what_': use 'subject_condition_result'",
        ),
        ("tests/a/b/c.py", "bell = Bell()", "tests/a/b/c.py:1: 'bell': use 'Notifier'"),
    ],
)
def test_replaced_word_is_found_with_file_line_and_better_word(
    tmp_path: Path, file: str, text: str, finding: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert finding in findings(tmp_path, WORDS)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("sql/x.sql", "SELECT 'made' AS outcome -- due to the lock, go on"),
        ("sql/x.sql", "SELECT positions_given_up, category, transaction_effects(1)"),
        ("sql/schema.sql", "SELECT figures"),
        ("nexgent_db/sync/a.py", "'trades.post'"),
        ("migrations/1.sql", "SELECT figures"),
        ("tests/unit/test_x.py", "def test_theme_of_page_is_dark() -> None: ..."),
    ],
)
def test_other_words_values_comments_and_generated_files_are_accepted(tmp_path: Path, file: str, text: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert findings(tmp_path, WORDS) == []


def test_every_pattern_compiles_and_every_area_has_files() -> None:
    for word in WORDS:
        assert re.compile(word.pattern)
        assert word.better
        for area in word.areas:
            assert any(CHECKOUT.glob(area)), f"{word.pattern}: no file matches {area}"
