"""DATABASE_URL and the other variables: every form and mistake; no message has a password."""

from __future__ import annotations

import pickle
import string
import traceback
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from nexgent_db import AsyncDatabase, Database
from nexgent_db._redis_url import check_redis_url, sentinel_place
from nexgent_db.errors import ConfigurationError
from nexgent_db.poolers import startup_settings
from nexgent_db.settings import Settings, describe, parse_database_url

SECRET = "s3cret"
URL = f"postgresql://alice:{SECRET}@db.example.org:5433/trading"


def parsed(url: str) -> dict[str, Any]:
    return conninfo_to_dict(parse_database_url(url))


def refusal(url: str) -> str | None:
    """The error message of a malformed URL; None for a valid one."""
    try:
        parse_database_url(url)
    except ConfigurationError as error:
        return str(error)
    return None


def all_texts_of(error: BaseException) -> Iterator[str]:
    """Every text that a logger can find in the error, its cause and its context, suppressed or not."""
    for each in (error, error.__cause__, error.__context__):
        if each is not None:
            yield from (str(each), repr(each), repr(each.args), repr(vars(each)))
            if each is not error:
                yield from all_texts_of(each)
    yield "".join(traceback.format_exception(error))  # from where it was raised; no locals in it


# --- DATABASE_URL: accepted forms ---------------------------------------------------------------

WHOLE = {"user": "alice", "password": SECRET, "host": "db.example.org", "port": "5433", "dbname": "trading"}


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (URL, WHOLE),
        (URL.replace("postgresql", "postgres"), WHOLE),
        (f"host=db.example.org port=5433 user=alice password={SECRET} dbname=trading", WHOLE),
        (f"dbname=trading password='{SECRET} it\\'s \\\\'", {"dbname": "trading", "password": f"{SECRET} it's \\"}),
        ("password=a://b host=h", {"password": "a://b", "host": "h"}),
        ("postgresql:///trading", {"dbname": "trading"}),
        ("postgresql://db.example.org", {"host": "db.example.org"}),
        (
            "postgresql://alice@db.example.org/trading",
            {k: v for k, v in WHOLE.items() if k not in ("password", "port")},
        ),
        (
            "postgresql://postgres@/postgres?host=%2Fvar%2Frun%2Fpg%20sockets&port=5432",
            {"user": "postgres", "dbname": "postgres", "host": "/var/run/pg sockets", "port": "5432"},
        ),
        ("postgresql://%2Fvar%2Frun/db", {"host": "/var/run", "dbname": "db"}),
        ("postgresql://a:1,b:2,c/db", {"host": "a,b,c", "port": "1,2,", "dbname": "db"}),
        ("postgresql://[2001:db8::1]:5433/db", {"host": "2001:db8::1", "port": "5433", "dbname": "db"}),
        (
            "postgresql://h/db?sslmode=require&options=-cwork_mem%3D1MB",
            {"host": "h", "dbname": "db", "sslmode": "require", "options": "-cwork_mem=1MB"},
        ),
    ],
)
def test_every_libpq_form_is_accepted(url: str, parts: dict[str, str]) -> None:
    assert parsed(url) == parts


def test_parsed_url_can_be_parsed_again() -> None:
    once = parse_database_url(f"{URL}?schema=My Schema".replace(" ", "%20"))
    assert conninfo_to_dict(parse_database_url(once)) == conninfo_to_dict(once)


@settings(deadline=None)  # the machine may be busy
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1))
@example("".join(sorted(set(string.punctuation + string.whitespace))))
@example("%2F+&=?#@:/\\'\" é😀")
def test_percent_encoded_password_is_decoded(password: str) -> None:
    url = f"postgresql://alice:{quote(password, safe='')}@h/d?schema=s"
    assert parsed(url) == {
        "user": "alice",
        "password": password,
        "host": "h",
        "dbname": "d",
        "options": '-csearch_path="s"',
    }
    assert password not in describe(parse_database_url(url)) or len(password) < 8  # one that is part of the rest


@pytest.mark.parametrize("password", ["p#w", "p?w", "p?schema=x", "p&w", "p:w", "p+w", "p=w", "p%2Bw", "p[w", "℀"])
def test_unencoded_special_character_in_password_is_read_as_by_libpq(password: str) -> None:
    url = f"postgresql://alice:{password}@h/d"
    alone = conninfo_to_dict(url)
    assert parsed(url) == alone
    assert parsed(url + "?schema=s") == {**alone, "options": '-csearch_path="s"'}


@pytest.mark.parametrize(
    ("given_as", "option"),
    [
        ("public", '-csearch_path="public"'),
        ("MySchema", '-csearch_path="MySchema"'),
        ("my%20schema", '-csearch_path="my\\ schema"'),
        ("my+schema", '-csearch_path="my\\ schema"'),
        ("a%2Bb", '-csearch_path="a+b"'),
        ("a%22b", '-csearch_path="a""b"'),
        ("a%5Cb", '-csearch_path="a\\\\b"'),
        ("a%27b", '-csearch_path="a\'b"'),
        ("a%2Cb", '-csearch_path="a,b"'),
        ("a%09-cstatement_timeout%3D1", '-csearch_path="a\\\t-cstatement_timeout=1"'),
        ("%24users", '-csearch_path="$users"'),
        ("%C3%A9", '-csearch_path="é"'),
        ("a%3Db=c", '-csearch_path="a=b=c"'),
    ],
)
def test_schema_becomes_search_path(given_as: str, option: str) -> None:
    assert parsed(f"{URL}?schema={given_as}") == {**WHOLE, "options": option}


def test_schema_is_combined_with_other_options() -> None:
    url = f"{URL}?application_name=a+b%20c&schema=s&options=-cwork_mem%3D1MB%20-cjit%3Doff&sslmode=require"
    assert parsed(url) == {
        **WHOLE,
        "application_name": "a+b c",  # a plus is a plus to libpq
        "options": '-cwork_mem=1MB -cjit=off -csearch_path="s"',
        "sslmode": "require",
    }


# --- DATABASE_URL: refused forms ----------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"mysql://alice:{SECRET}@h/d",
        f"postgresql+psycopg://alice:{SECRET}@h/d",
        f"POSTGRESQL://alice:{SECRET}@h/d",
        f"alice:{SECRET}@h://",
        f"host=h password='{SECRET}",
        f"host=h passwort={SECRET}",
        f"host=h password={SECRET} port=zero",
        f"postgresql://alice:{SECRET}%zz@h/d",
        f"postgresql://alice:{SECRET}%ff@h/d",
        f"postgresql://alice:{SECRET}%00@h/d",
        f"postgresql://alice:{SECRET}\0@h/d",
        f"postgresql://alice:{SECRET}\udcff@h/d",
        f"postgresql://alice:{SECRET} and more@h/d",
        f"postgresql://alice:{SECRET}@[::1/d",
        f"postgresql://alice:{SECRET}@h:port/d",
        f"postgresql://alice:{SECRET}/w@h/d",
        f"postgresql://alice:123/{SECRET}@h/d",
        f"postgresql://alice:p@{SECRET}@h/d",
        f"postgresql://alice:{SECRET}@h/d?colour=red",
        f"postgresql://alice:{SECRET}@h/d?sslmode",
        f"postgresql://alice:{SECRET}@h/d?schema=",
        f"postgresql://alice:{SECRET}@h/d?schema",
        f"postgresql://alice:{SECRET}@h/d?schema=a&schema=b",
        f"postgresql://alice:{SECRET}@h/d?schema=a%00",
        f"postgresql://alice:{SECRET}@h/d?schema=%24user",
        f"postgresql://alice:{SECRET}@h/d?schema=%zz",
        f"postgresql://alice:{SECRET}@h/d?schema=%ff",
        f"postgresql://alice:{SECRET}@h/d?schema=\udcff",
        f"postgresql://alice:{SECRET}@h/d?schema={'x' * 64}",
        f"postgresql://alice:{SECRET}@h/d?schema={'%C3%A9' * 32}",
        "postgresql://",
        "postgresql://?schema=public",
    ],
)
def test_malformed_url_is_refused_without_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_url(url, {})
    message = str(refused.value)
    assert "DATABASE_URL" in message
    assert "\n" not in message
    assert refused.value.__cause__ is refused.value.__context__ is None
    assert not [said for said in all_texts_of(refused.value) if SECRET in said]


@pytest.mark.parametrize("url", ["", "  "])
def test_missing_url_error_shows_format(url: str) -> None:
    for environ in ({"DATABASE_URL": url}, {}):
        with pytest.raises(ConfigurationError, match=r"^DATABASE_URL is not set: it should look like postgresql://"):
            Settings.from_env(environ)


def test_malformed_conninfo_is_refused_without_value() -> None:
    for conninfo in (f"host=h {SECRET}", f"postgresql://alice:{SECRET}@h/d?schema=s", f"port={SECRET}"):
        with pytest.raises(ConfigurationError, match="conninfo is malformed") as refused:
            Settings(conninfo=conninfo)
        assert SECRET not in str(refused.value)
        assert refused.value.__context__ is None


@settings(deadline=None)  # the machine may be busy
@given(st.text(min_size=1))
def test_any_text_is_parsed_or_refused_with_one_line(url: str) -> None:
    refused = refusal(url)
    assert refused is None or len(refused.splitlines()) == 1


@settings(deadline=None)  # the machine may be busy
@given(st.text(alphabet="ab1%2F@:/?#&=[]+,\\ '\"", max_size=12))
def test_unencoded_password_is_never_shown(odd: str) -> None:
    """Any password is read as libpq reads it, or refused; no later message shows any part of it."""
    password = f"hidden{odd}hidden"
    url = f"postgresql://alice:{password}@db:5432/trading?schema=s"
    refused = refusal(url)
    shown = describe(parse_database_url(url)) if refused is None else refused
    assert "hidden" not in shown
    assert refused is not None or shown == "alice at db:5432, database trading"


# --- repr and describe --------------------------------------------------------------------------


def test_repr_never_has_password() -> None:
    settings = Settings.from_url(URL, {}, redis_url=f"redis://:{SECRET}@cache:6379/0")
    assert SECRET in settings.conninfo
    for shown in (settings, AsyncDatabase(settings), Database(settings), describe(settings.conninfo)):
        assert SECRET not in repr(shown)
        assert SECRET not in str(shown)
    assert repr(AsyncDatabase(settings)) == "<AsyncDatabase alice at db.example.org:5433, database trading>"


def test_describe_lists_defaults() -> None:
    assert describe("dbname=x") == "the default role at the local socket, database x"
    assert describe("host=/run/pg user=u") == "u at /run/pg, database default"


def test_settings_are_values() -> None:
    settings = Settings.from_url(URL, {})
    assert settings == Settings.from_url(URL, {})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert replace(settings, pool_max_size=3).pool_max_size == 3


# --- The other variables ------------------------------------------------------------------------

WHOLE_NUMBERS = (
    "LOCAL_CACHE_ROWS",
    "POOL_MIN_SIZE",
    "POOL_MAX_SIZE",
    "MAX_ANSWER_MIB",
    "POOL_MAX_WAITING",
    "CONNECT_TIMEOUT_S",
    "PREPARE_THRESHOLD",
)
NUMBERS = (
    "POOL_TIMEOUT_S",
    "STATEMENT_TIMEOUT_S",
    "LOCK_TIMEOUT_S",
    "IDLE_IN_TRANSACTION_TIMEOUT_S",
    "REPLICA_WAIT_S",
    "DRAIN_S",
)
MAY_BE_ZERO = ("DRAIN_S", "LOCAL_CACHE_ROWS", "POOL_MIN_SIZE", "PREPARE_THRESHOLD")


def from_variable(name: str, text: str) -> Any:
    settings = Settings.from_env({"DATABASE_URL": URL, f"NEXGENT_DB_{name}": text})
    return getattr(settings, name.lower())


def test_every_setting_has_its_variable() -> None:
    names = {item.name.upper() for item in fields(Settings)}
    texts = {"CONNINFO", "REPLICA_CONNINFOS", "REDIS_URL", "SCHEMA", "CACHE_PREFIX", "POOLER"}
    assert names == {*WHOLE_NUMBERS, *NUMBERS, *texts}


def test_pooler_is_read_and_verified() -> None:
    assert Settings.from_url(URL, {"NEXGENT_DB_POOLER": " "}).pooler is None
    assert Settings.from_url(URL, {"NEXGENT_DB_POOLER": " Session "}).pooler == "session"
    with pytest.raises(ConfigurationError, match="pooler is 'statement': it should be transaction or session"):
        Settings.from_url(URL, {"NEXGENT_DB_POOLER": "statement"})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {}),
        ("-csearch_path=cell -c work_mem=7MB", {"search_path": "cell", "work_mem": "7MB"}),
        (r"-c search_path=\"a\ \\\"\"b\"", {"search_path": '"a \\""b"'}),
        ("--Search-Path=a  -csearch_path=b=c", {"search_path": "b=c"}),
    ],
)
def test_options_are_read_as_postgresql_does(options: str, expected: dict[str, str]) -> None:
    assert startup_settings(options) == expected


@pytest.mark.parametrize("options", ["-c", "-d 2", "work_mem=7MB", "-c =x", "--work_mem"])
def test_option_that_sets_nothing_is_refused(options: str) -> None:
    with pytest.raises(ConfigurationError, match="sets nothing"):
        startup_settings(options)


@pytest.mark.parametrize("name", WHOLE_NUMBERS + NUMBERS)
def test_variable_is_read_and_blank_means_default(name: str) -> None:
    assert from_variable(name, " 7 ") == 7
    assert from_variable(name, "  ") == getattr(Settings.from_url(URL, {}), name.lower())


@pytest.mark.parametrize("name", NUMBERS)
def test_time_may_have_decimals(name: str) -> None:
    assert from_variable(name, "0.25") == 0.25


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *((name, text) for name in WHOLE_NUMBERS + NUMBERS for text in ("many", "-1", "1,5", "0x10", "1s", "none!")),
        *((name, text) for name in WHOLE_NUMBERS for text in ("1.5", "1e3", "nan", "inf")),
        *((name, text) for name in NUMBERS for text in ("nan", "inf", "-inf", "1e300", "2147484")),
        *((name, "0") for name in WHOLE_NUMBERS + NUMBERS if name not in MAY_BE_ZERO),
        *((name, "none") for name in WHOLE_NUMBERS + NUMBERS if name != "PREPARE_THRESHOLD"),
        ("CONNECT_TIMEOUT_S", "2147484"),
        ("POOL_MIN_SIZE", "11"),
    ],
)
def test_malformed_variable_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        from_variable(name, text)
    message = str(refused.value)
    assert name.lower() in message.lower()
    assert "\n" not in message


@pytest.mark.parametrize("name", MAY_BE_ZERO)
def test_some_settings_may_be_zero(name: str) -> None:
    assert from_variable(name, "0") == 0


@pytest.mark.parametrize("text", ["none", "None", "NONE"])
def test_statements_need_not_be_prepared(text: str) -> None:
    assert from_variable("PREPARE_THRESHOLD", text) is None


def test_settings_given_in_code_are_checked() -> None:
    with pytest.raises(ConfigurationError, match="pool_timeout_s must be a finite number, not nan"):
        Settings(conninfo="dbname=x", pool_timeout_s=float("nan"))
    with pytest.raises(ConfigurationError, match=r"pool_min_size \(3\) is above pool_max_size \(2\)"):
        Settings(conninfo="dbname=x", pool_min_size=3, pool_max_size=2)


# --- REDIS_URL ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        *("redis://h:6379/0", f"rediss://u:{SECRET}@h", "unix:///tmp/x.sock?db=1", "redis://[::1]:6379"),
        *("unix:///a@b.sock", "redis+sentinel://h/name", "redis+sentinel://h:1,[::1]:26379,i/name/3"),
        f"rediss+sentinel://u:{SECRET}@h,i/name/0?sentinel_password={SECRET}",
    ],
)
def test_redis_url_is_kept_unchanged(url: str) -> None:
    assert check_redis_url(url) == url
    assert Settings.from_env({"DATABASE_URL": URL, "REDIS_URL": f" {url} "}).redis_url == url


def test_sentinel_url_has_sentinels_master_and_credentials() -> None:
    place = sentinel_place(f"rediss+sentinel://u%40:{SECRET}%2F@h:1,[::1]/my%20name/3?sentinel_password={SECRET}%26")
    assert place is not None
    assert (place.hosts, place.master, place.database, place.tls) == ((("h", 1), ("::1", 26379)), "my name", 3, True)
    assert (place.username, place.password) == ("u@", f"{SECRET}/")
    assert (place.sentinel_username, place.sentinel_password) == (None, f"{SECRET}&")
    assert SECRET not in repr(place)
    assert sentinel_place("redis://h") is None


@pytest.mark.parametrize("option", ["decode_responses", "protocol", "encoding", "encoding_errors", "legacy_responses"])
@pytest.mark.parametrize("url", [f"redis://u:{SECRET}@h/0?db=1&", "unix:///tmp/x.sock?", f"rediss://u:{SECRET}@h?"])
def test_redis_option_that_changes_answers_is_refused(url: str, option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^REDIS_URL has the option {option}: leave it out") as refused:
        check_redis_url(f"{url}{option}=3")
    assert SECRET not in str(refused.value)


def test_redis_may_be_absent() -> None:
    for environ in ({}, {"REDIS_URL": " "}):
        assert Settings.from_env({"DATABASE_URL": URL, **environ}).redis_url is None


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"http://u:{SECRET}@h",
        f"redis://u:{SECRET}@[::1",
        f"redis://u:{SECRET}@h℀",
        f"redis://u:{SECRET}/w@h:6379",
        f"redis://:123/{SECRET}@h:6379",
        f"redis://u:{SECRET}@h:port",
        f"redis+sentinel://u:{SECRET}@h",
        f"redis+sentinel://u:{SECRET}@h/",
        f"redis+sentinel://u:{SECRET}@h/name/x",
        f"redis+sentinel://u:{SECRET}@h/name/0/1",
        f"redis+sentinel://u:{SECRET}@h,/name",
        f"redis+sentinel://u:{SECRET}@h:0/name",
        f"redis+sentinel://u:{SECRET}@h:65536/name",
        f"redis+sentinel://u:{SECRET}/w@h/name",
        f"redis+sentinel://u:{SECRET}@[::1/name",
        f"redis+sentinel://h/name?password={SECRET}",
        f"redis+sentinel://h/name?sentinel_password={SECRET}&sentinel_password=b",
        f"redis+sentinel://h/name?{SECRET}",
        f"redis+sentinel://h/name#{SECRET}",
    ],
)
def test_malformed_redis_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="^REDIS_URL is malformed") as refused:
        check_redis_url(url)
    assert refused.value.__context__ is None
    assert not [said for said in all_texts_of(refused.value) if SECRET in said]


# --- Of other tools -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (f"{URL}?connection_limit=5", "connection_limit, which is Prisma's: set NEXGENT_DB_POOL_MAX_SIZE"),
        (f"{URL}?schema=public&pgbouncer=true", "pgbouncer, which is Prisma's: set NEXGENT_DB_PREPARE_THRESHOLD=none"),
        (f"{URL}?sslaccept=strict", "sslaccept, which is Prisma's: write sslmode=require"),
        (f"{URL}?sslmode=require&pool_timeout=3", "pool_timeout, which is Prisma's: set NEXGENT_DB_POOL_TIMEOUT_S"),
        (f"{URL}?currentSchema=app", "currentSchema, which is JDBC's: write schema"),
        (f"{URL}?max_overflow=5", "max_overflow, which is SQLAlchemy's"),
        (f"{URL}?colour=red", "colour, which PostgreSQL's library does not know"),
        (f"host=h password={SECRET} connection_limit=5", "connection_limit, which is Prisma's"),
        (f'"{URL}"', "begins with a quote"),
        (f"'{URL}'", "begins with a quote"),
        (f"jdbc:postgresql://h/d?user=alice&password={SECRET}", "is one of JDBC: write postgresql:// without jdbc:"),
    ],
)
def test_option_of_other_tool_is_named_without_secret(url: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_database_url(url)
    assert named in str(refused.value)
    assert SECRET not in f"{refused.value!r}{refused.value.__cause__!r}{refused.value.details}"


@pytest.mark.parametrize("secret", [f"a?{SECRET}=b", f"a&{SECRET}=b", f"?{SECRET}=", f"x&ssl{SECRET}=1"])
def test_part_of_password_is_not_taken_for_an_option(secret: str) -> None:
    for url in (f"postgresql://alice:{secret}@h/d?colour=red", f"postgresql://alice:{secret}@h:port/d"):
        with pytest.raises(ConfigurationError) as refused:
            parse_database_url(url)
        assert SECRET not in str(refused.value)


def test_redis_of_environment_is_used_only_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://cache:6379/0")
    monkeypatch.setenv("DATABASE_URL", URL)
    assert AsyncDatabase(URL).settings.redis_url is None
    assert Database(URL).settings.redis_url is None
    assert AsyncDatabase.from_env().settings.redis_url == "redis://cache:6379/0"
    assert Settings.from_url(URL, redis_url="redis://other").redis_url == "redis://other"
    with pytest.raises(ConfigurationError, match="REDIS_URL is malformed"):
        Settings.from_url(URL, redis_url=f"http://{SECRET}")


# --- Replicas -------------------------------------------------------------------------------------


def test_replica_urls_are_split_between_urls_only() -> None:
    first, second = "postgresql://a,b/d?application_name=x,y", "postgres://c/d"
    for between in (",", " ", ", ", "\n"):
        settings = Settings.from_env({"DATABASE_URL": URL, "DATABASE_REPLICA_URLS": f" {first}{between}{second}\n"})
        assert settings.replica_conninfos == (parse_database_url(first), parse_database_url(second))
        assert "a,b" not in repr(settings)


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ("mysql://a/b", "URL 1 of DATABASE_REPLICA_URLS has the scheme 'mysql'"),
        (f"{URL},postgresql://u:sec@ret@h/d", "URL 2 of DATABASE_REPLICA_URLS is malformed"),
        ("postgresql://a/b postgresql://a/b", "URL 2 of DATABASE_REPLICA_URLS is given twice"),
    ],
)
def test_malformed_replica_url_is_refused_with_its_number(urls: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        Settings.from_env({"DATABASE_URL": URL, "DATABASE_REPLICA_URLS": urls})
    assert "ret" not in str(caught.value)


def test_no_replica_urls_are_none() -> None:
    assert Settings.from_env({"DATABASE_URL": URL, "DATABASE_REPLICA_URLS": " "}).replica_conninfos == ()
    assert Settings.from_url(URL, {"DATABASE_REPLICA_URLS": URL}).replica_conninfos == ()
