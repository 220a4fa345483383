"""The store never gives an answer that is older than a reported change."""

from __future__ import annotations

import math
import time

import pytest

from nexgent_db.cache.local_store import LocalStore

EPOCH = b"ready"
KEYS = ("a", "b")


@pytest.fixture
def store() -> LocalStore:
    """Somebody listens."""
    return listening(LocalStore(2))


def listening(store: LocalStore) -> LocalStore:
    store.mark_valid(store.open(), math.inf)
    return store


def put(store: LocalStore, *keys: str, value: bytes = b"1") -> None:
    load_token = store.begin_load(keys)
    store.store(EPOCH, keys, [value] * len(keys), load_token)
    store.end_load(keys, load_token)


def test_answer_is_found_by_same_keys_in_same_epoch(store: LocalStore) -> None:
    put(store, *KEYS)
    assert store.find(EPOCH, KEYS) == [b"1", b"1"]
    assert store.find(EPOCH, ("a",)) is None
    assert store.find(b"another", KEYS) is None
    assert store.hits == 1


def test_changed_key_drops_every_answer_with_it(store: LocalStore) -> None:
    put(store, *KEYS)
    put(store, "b")
    store.forget(["c", 7, b"a"])
    assert len(store) == 2
    store.forget(["b"])
    assert len(store) == 0


@pytest.mark.parametrize("event", ["forget", "clear", "close", "open"])
def test_answer_changed_during_load_is_not_stored(store: LocalStore, event: str) -> None:
    load_token = store.begin_load(KEYS)
    store.forget(["a"]) if event == "forget" else getattr(store, event)()
    store.store(EPOCH, KEYS, [b"1", b"1"], load_token)
    store.mark_valid(store.open(), math.inf) if event in ("close", "open") else None
    assert store.find(EPOCH, KEYS) is None
    assert len(store) == 0


def test_answer_requested_before_change_is_not_stored(store: LocalStore) -> None:
    before = store.begin_load(KEYS)
    store.forget(["a"])
    after = store.begin_load(KEYS)
    store.store(EPOCH, KEYS, [b"old", b"old"], before)
    store.end_load(KEYS, before)
    store.store(EPOCH, KEYS, [b"new", b"new"], after)
    assert store.find(EPOCH, KEYS) == [b"new", b"new"]


def test_incomplete_answer_is_not_stored(store: LocalStore) -> None:
    store.store(EPOCH, KEYS, [b"1", None], store.begin_load(KEYS))
    assert len(store) == 0


def test_least_recently_used_answer_is_dropped_first(store: LocalStore) -> None:
    put(store, "a")
    put(store, "b")
    assert store.find(EPOCH, ("a",)) is not None
    put(store, "c")
    assert [store.find(EPOCH, (key,)) is not None for key in "abc"] == [True, False, True]


def test_expired_store_gives_no_answer_and_no_load_token(store: LocalStore) -> None:
    put(store, "a")
    generation = store.open()
    store.mark_valid(generation, math.inf)
    put(store, "a")
    store.mark_valid(generation, time.monotonic())
    assert store.find(EPOCH, ("a",)) is None
    assert store.begin_load(("a",)) is None


def test_ended_generation_cannot_be_marked_valid(store: LocalStore) -> None:
    generation = store.open()
    store.close()
    store.mark_valid(generation, math.inf)
    assert not store.is_current(generation)
    assert store.begin_load(("a",)) is None
