"""The ids that Python makes: UUID v7, in the order of time, never twice."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122

from nexgent_db.models import DepositOrder
from nexgent_db.models.ids import new_id


def test_id_has_version_seven_and_rfc_variant() -> None:
    for made in (new_id() for _ in range(1000)):
        assert (made.version, made.variant) == (7, RFC_4122)


def test_id_begins_with_milliseconds_since_1970() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id()
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_later_id_is_greater() -> None:
    made = []
    for _ in range(20):
        made.append(new_id())
        time.sleep(0.002)
    assert made == sorted(made)


def test_ids_of_many_threads_are_distinct() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [each for ids in pool.map(lambda _: [new_id() for _ in range(5000)], range(8)) for each in ids]
    assert len(set(made)) == len(made) == 40_000


def test_order_without_hash_gets_rising_request_id() -> None:
    def order() -> DepositOrder:
        content = {"agent_id": new_id(), "wallet_address": "w", "token_address": "t", "token_symbol": "T", "amount": 1}
        return DepositOrder.model_validate(content)

    first = order()
    time.sleep(0.002)
    second = order()
    assert (first.request_id.version, second.request_id.version) == (7, 7)
    assert first.request_id < second.request_id
