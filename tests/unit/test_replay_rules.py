"""The replay's rules: the kind of an event, its agent, and the opening SOL that the agent needs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from nexgent_db.models.base import SOL_MINT
from nexgent_db.models.ids import request_id_of
from nexgent_db.models.trades import (
    BuyOrder,
    DcaBuyOrder,
    DepositOrder,
    SellOrder,
    SwapOrder,
    TakeProfitOrder,
    TradeOrder,
    WithdrawOrder,
)
from nexgent_db.replay.accounts import accounts_of, share_of
from nexgent_db.replay.events import BadLine, Line, SwapEvent, TransferEvent
from nexgent_db.replay.plan import opening_balances
from nexgent_db.replay.rules import order_of

(ACCOUNT,) = accounts_of("wallet", 1)
ABOUT: dict[str, Any] = {"wallet": "wallet", "time": "2026-01-01T00:00:00Z"}


def line(event: SwapEvent | TransferEvent, number: int = 1) -> Line:
    return Line(number, 0, event, 0)


def transfer(kind: str, mint: str, amount: str, **changes: Any) -> TransferEvent:
    given = ABOUT | {"tx_hash": "hash", "kind": kind, "mint": mint, "symbol": "S", "amount": amount, "amount_usd": "2"}
    return TransferEvent.model_validate(given | changes)


def swap(given: str, amount: str, received: str, of: str, **changes: Any) -> SwapEvent:
    return SwapEvent.model_validate(
        ABOUT
        | {
            "tx_hash": "hash",
            "kind": "swap",
            "input_mint": given,
            "input_symbol": "IN",
            "input_amount": amount,
            "input_usd": "3",
            "output_mint": received,
            "output_symbol": "OUT",
            "output_amount": of,
        }
        | changes
    )


@pytest.mark.parametrize(
    ("event", "remaining", "kind"),
    [
        (transfer("transfer_in", "native", "1"), None, DepositOrder),
        (transfer("transfer_out", "token", "1"), None, WithdrawOrder),
        (swap("native", "1", "token", "10"), None, BuyOrder),
        (swap("native", "1", "token", "10"), "5", DcaBuyOrder),
        (swap("token", "4.999", "native", "1"), "5", TakeProfitOrder),
        (swap("token", "5.000", "native", "1"), "5", SellOrder),
        (swap("token", "5.001", "native", "1"), "5", None),
        (swap("token", "5", "native", "1"), None, SwapOrder),
        (swap("token", "5", "other", "1"), None, SwapOrder),
    ],
)
def test_position_decides_kind_of_event(
    event: SwapEvent | TransferEvent, remaining: str | None, kind: type[TradeOrder] | None
) -> None:
    order = order_of(line(event), ACCOUNT, None if remaining is None else Decimal(remaining))
    assert type(order) is (kind or type(None))
    if order is not None:
        assert order.request_id == request_id_of("wallet", "hash", 0)
        assert order.transaction_time == event.time
        assert order.transaction_value_usd == (2 if isinstance(event, TransferEvent) else 3)


def test_unknown_destination_reads_as_none() -> None:
    for to, stored in ((None, None), ("", None), ("there", "there")):
        order = order_of(line(transfer("transfer_out", "token", "1", to=to)), ACCOUNT, None)
        assert isinstance(order, WithdrawOrder)
        assert order.destination_address == stored


def test_event_belongs_to_agent_of_its_token() -> None:
    assert swap("token", "1", "native", "1").traded_mint == "token"
    assert swap("native", "1", "token", "1").traded_mint == "token"
    assert swap("token", "1", "other", "1").traded_mint == "other"
    assert transfer("transfer_in", "native", "1").traded_mint == SOL_MINT


def test_shares_and_accounts_are_same_in_every_run() -> None:
    assert [share_of(mint, 3) for mint in ("token", "other", SOL_MINT)] == [0, 1, 1]
    three = accounts_of("wallet", 3)
    assert three == accounts_of("wallet", 3)
    assert len({account.wallet_address for account in three} | {"wallet"}) == 4
    assert {len(account.wallet_address) for account in three} == {44}
    assert not {account.agent_id for account in three} & {ACCOUNT.agent_id}


def test_opening_sol_is_deepest_dip() -> None:
    history: list[Line | BadLine] = [
        line(swap("native", "2", "token", "10")),
        BadLine(2, "bad"),
        line(swap("native", "1", "token", "10")),  # 3 spent
        line(swap("token", "20", "native", "5")),
        line(swap("native", "4", "token", "10")),  # 7 spent, 5 received
        line(swap("token", "11", "native", "100")),  # refused
        line(swap("native", "1.5", "token", "10")),  # 8.5 spent, 5 received
        line(swap("other", "1", "native", "50")),  # refused: nothing held
        line(transfer("transfer_in", "native", "0")),
    ]
    assert opening_balances(history, [ACCOUNT]) == [Decimal("3.5")]


def test_history_without_dip_needs_no_opening_sol() -> None:
    history = [line(transfer("transfer_in", "native", "1")), line(transfer("transfer_out", "native", "1"))]
    assert opening_balances(history, [ACCOUNT]) == [0]


def test_sale_before_purchase_has_no_proceeds() -> None:
    history = [
        line(swap("native", "2", "token", "10")),
        line(swap("token", "10", "native", "50", time="2025-12-31T00:00:00Z")),
        line(swap("native", "1", "other", "10")),
    ]
    assert opening_balances(history, [ACCOUNT]) == [3]
