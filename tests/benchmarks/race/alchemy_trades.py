"""Trades with SQLAlchemy: a buy with Core's constructs, and all three as a unit of work of the ORM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from nexgent_db.models import SOL_MINT, BuyOrder, SellOrder
from tests.benchmarks.race.alchemy import mapped, new_engine
from tests.benchmarks.race.by_hand import Order, values_of

try:
    import sqlalchemy as sa
    from sqlalchemy import orm
    from sqlalchemy.dialects.postgresql import insert as upsert
except ImportError:
    sa = None

_TRANSACTION_FIELDS: Final = (
    "agent_id",
    "wallet_address",
    "transaction_time",
    "routes",
    "swap_payload",
    "slippage",
    "price_impact",
    "transaction_hash",
    "transaction_leg",
    "protocol_fee_sol",
    "network_fee_sol",
    "is_take_profit",
)


def _transaction_of(values: dict[str, Any], **more: Any) -> dict[str, Any]:
    fields = {name: values[name] for name in _TRANSACTION_FIELDS}
    sol = (SOL_MINT, "SOL", values["sol_amount"], 1)
    token = (values["token_address"], values["token_symbol"], values["token_amount"], values["price"])
    names = ("mint", "symbol", "amount", "price")
    source, target = (sol, token) if more.pop("buys") else (token, sol)
    fields |= {f"input_{name}": value for name, value in zip(names, source, strict=True)}
    fields |= {f"output_{name}": value for name, value in zip(names, target, strict=True)}
    return {
        "id": values["request_id"],
        "transaction_type": "SWAP",
        "transaction_value_usd": values["usd"],
        **fields,
        **more,
    }


def _position_of(values: dict[str, Any]) -> dict[str, Any]:
    return {
        **{name: values[name] for name in ("agent_id", "wallet_address", "token_address", "token_symbol")},
        "purchase_transaction_id": values["request_id"],
        "purchase_price": values["price"],
        "purchase_amount": values["token_amount"],
        "remaining_amount": values["token_amount"],
        "total_invested_sol": values["sol_spent"],
        "current_stop_loss_percentage": values["stop_loss_percentage"],
        "total_take_profit_levels": values["take_profit_levels"],
    }


@contextmanager
def core_buy(url: str) -> Iterator[Callable[[Any], object]]:
    """The eight statements of a buy as constructs, in ``engine.begin()``."""
    t = mapped(url).tables
    agents, wallets, balances = t["agents"], t["agent_wallets"], t["agent_balances"]
    transactions, positions, requests = t["agent_transactions"], t["agent_positions"], t["race_requests"]

    def buy(connection: Any, order: Order) -> object:
        v = values_of(order, lambda document: document)
        lock = (
            sa.select(wallets.c.wallet_address)
            .join(agents, wallets.c.agent_id == agents.c.id)
            .where(agents.c.id == v["agent_id"], wallets.c.wallet_address == v["wallet_address"])
            .with_for_update(key_share=True, of=wallets)
        )
        connection.execute(lock).one()
        if connection.execute(sa.select(requests).where(requests.c.id == v["request_id"])).first() is not None:
            raise RuntimeError("refused: the request was executed before")
        open_position = sa.select(positions.c.id).where(
            positions.c.agent_id == v["agent_id"],
            positions.c.wallet_address == v["wallet_address"],
            positions.c.token_address == v["token_address"],
        )
        if connection.execute(open_position).first() is not None:
            raise RuntimeError("refused: the position exists")
        debit = (
            sa.update(balances)
            .where(
                balances.c.wallet_address == v["wallet_address"],
                balances.c.token_address == SOL_MINT,
                balances.c.balance >= v["sol_spent"],
            )
            .values(balance=balances.c.balance - v["sol_spent"], last_updated=sa.func.now())
            .returning(balances)
        )
        connection.execute(debit).one()
        credit = upsert(balances).values(
            agent_id=v["agent_id"],
            wallet_address=v["wallet_address"],
            token_address=v["token_address"],
            token_symbol=v["token_symbol"],
            balance=v["token_amount"],
        )
        credit = credit.on_conflict_do_update(
            index_elements=[balances.c.wallet_address, balances.c.token_address],
            set_={"balance": balances.c.balance + credit.excluded.balance, "last_updated": sa.func.now()},
        )
        connection.execute(credit.returning(balances)).one()
        ledger = sa.insert(transactions).values(_transaction_of(v, buys=True)).returning(transactions)
        connection.execute(ledger).one()
        row = connection.execute(sa.insert(positions).values(_position_of(v)).returning(positions)).one()
        connection.execute(
            sa.insert(requests).values(id=v["request_id"], operation="buy", content_digest=v["content_digest"])
        )
        return row

    with new_engine(url) as engine:

        def trade(order: Order) -> object:
            with engine.begin() as connection:
                return buy(connection, order)

        yield trade


@contextmanager
def orm_trade(url: str) -> Iterator[Callable[[Any], object]]:
    """A unit of work: rows are loaded, locked and changed as objects, and flushed at its end."""
    m = mapped(url)

    def trade(session: Any, order: Order) -> object:
        v = values_of(order, lambda document: document)
        session.get_one(m.agent, v["agent_id"], with_for_update={"read": True, "key_share": True})
        wallet = session.get_one(m.wallet, v["wallet_address"], with_for_update={"key_share": True})
        if wallet.agent_id != v["agent_id"] or session.get(m.request, v["request_id"]) is not None:
            raise RuntimeError("refused")
        position = session.scalar(
            sa.select(m.position).filter_by(
                agent_id=v["agent_id"], wallet_address=v["wallet_address"], token_address=v["token_address"]
            )
        )
        held = sa.select(m.balance).filter_by(wallet_address=v["wallet_address"])
        sol = session.scalars(held.filter_by(token_address=SOL_MINT)).one()
        token = session.scalars(held.filter_by(token_address=v["token_address"])).one_or_none()
        session.add(m.request(id=v["request_id"], operation="trade", content_digest=v["content_digest"]))
        if isinstance(order, BuyOrder):
            return _orm_buy(session, v, position, sol, token)
        return _orm_sale(session, order, v, position, sol, token)

    def _orm_buy(session: Any, v: dict[str, Any], position: Any, sol: Any, token: Any) -> object:
        if position is not None or sol.balance < v["sol_spent"]:
            raise RuntimeError("refused")
        sol.balance -= v["sol_spent"]
        if token is None:
            names = ("agent_id", "wallet_address", "token_address", "token_symbol")
            session.add(m.balance(balance=v["token_amount"], **{name: v[name] for name in names}))
        else:
            token.balance += v["token_amount"]
        transaction = m.transaction(**_transaction_of(v, buys=True))
        bought = m.position(**_position_of(v), purchase=transaction)
        session.add(bought)
        return bought

    def _orm_sale(session: Any, order: Order, v: dict[str, Any], position: Any, sol: Any, token: Any) -> object:
        if position is None or token is None or token.balance < v["token_amount"]:
            raise RuntimeError("refused")
        token.balance -= v["token_amount"]
        sol.balance += v["sol_received"]
        invested, bought = position.total_invested_sol, position.purchase_amount
        received = position.proceeds_sol + v["sol_received"]
        realized = v["sol_received"] - v["token_amount"] / bought * invested
        if isinstance(order, SellOrder):
            realized = received - invested - position.realized_profit_sol
        sale = m.transaction(**_transaction_of(v, buys=False, realized_profit_sol=realized))
        session.add(sale)
        if not isinstance(order, SellOrder):
            position.remaining_amount = (position.remaining_amount or bought) - v["token_amount"]
            position.take_profit_levels_hit += v["levels_hit"]
            ids = position.take_profit_transaction_ids
            position.take_profit_transaction_ids = [*ids, _of_kind(ids, v["request_id"], position)]
            position.last_take_profit_time = v["transaction_time"]
            position.proceeds_sol = received
            position.realized_profit_sol += realized
            return position
        swap = m.swap(
            **{name: v[name] for name in ("agent_id", "wallet_address", "token_address", "token_symbol")},
            amount=bought,
            purchase_price=position.purchase_price,
            sale_price=received / bought,
            change_percent=100 * (received - invested) / invested,
            profit_loss_usd=v["usd"],
            profit_loss_sol=received - invested,
            purchase_time=min(position.created_at, v["transaction_time"]),
            sale_time=v["transaction_time"],
            purchase_transaction_id=position.purchase_transaction_id,
            sale=sale,
            close_reason=v["close_reason"],
        )
        session.add(swap)
        session.delete(position)
        return swap

    with new_engine(url) as engine:

        def unit_of_work(order: Order) -> object:
            with orm.Session(engine, expire_on_commit=False) as session, session.begin():
                return trade(session, order)

        yield unit_of_work


def _of_kind(ids: list[Any], request_id: UUID, position: Any) -> Any:
    """The id as the array's column has it: text, or uuid in a later schema."""
    kind = type(position).__table__.c.take_profit_transaction_ids.type.item_type
    return request_id if isinstance(kind, sa.Uuid) else str(request_id)
