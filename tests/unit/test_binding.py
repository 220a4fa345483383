"""Methods and their named queries: mismatches at class creation, checks of arguments, rows as models."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb
from pydantic import BaseModel, JsonValue, ValidationError

from nexgent_db import NOT_GIVEN, NotGiven
from nexgent_db.errors import InvalidInput, NexgentError, NoRow, QueryBindingError, TooManyRows
from nexgent_db.models import Agent, AgentPosition, AgentTransaction, AgentWallet, TokenNumber, User
from nexgent_db.models.base import AwareDatetime, Input, Name, Row
from nexgent_db.queries.binding import BoundQuery, bind_repository, query
from nexgent_db.queries.rows import row_maker
from nexgent_db.queries.values import MAX_BIGINT

Bind = Callable[[str, type], dict[str, BoundQuery]]


class Thing(Row):
    """What the queries of these tests return."""

    id: int
    name: str


class ThingOrder(Input):
    """An order with a document and a number."""

    name: str
    payload: JsonValue = None
    amount: TokenNumber = Decimal(0)


@pytest.fixture
def bind(tmp_path: Path) -> Bind:
    """Binds a class to the text of ``things.sql``; an absolute path leads the binder out of the package's folder."""

    def bind(sql: str, cls: type) -> dict[str, BoundQuery]:
        (tmp_path / "things.sql").write_text(sql)
        return bind_repository(cls, str(tmp_path / "things"))

    return bind


@pytest.fixture
def refused(bind: Bind, tmp_path: Path) -> Callable[[str, type], str]:
    """The message of the refusal, in which the SQL file is ``things.sql`` and this file ``test_binding.py``."""

    def refused(sql: str, cls: type) -> str:
        with pytest.raises(QueryBindingError) as error:
            bind(sql, cls)
        message = str(error.value)
        assert str(tmp_path / "things.sql") in message, "the SQL file is named"
        return message

    return refused


Refused = Callable[[str, type], str]
BOTH_PLACES = re.compile(r"things\.sql:\d+: things\.\w+ \(.*test_binding\.py:\d+\): ")

FIND = "-- name: find :optional\nSELECT id, name FROM things WHERE id = :id;\n"


# --- Disagreements ------------------------------------------------------------------------------


def test_matching_query_and_method_are_bound(bind: Bind) -> None:
    class Things:
        @query
        async def find(self, id: int) -> Thing | None:
            """The thing."""

        async def ordinary(self) -> None:
            """Not marked, so not looked for."""

    bound = bind(FIND, Things)
    assert list(bound) == ["find"]
    assert bound["find"].name == "things.find"
    assert bound["find"].doc == "The thing."


def test_query_without_method_is_refused_with_its_line(refused: Refused) -> None:
    class Things:
        @query
        async def find(self, id: int) -> Thing | None: ...

    message = refused(FIND + "\n-- name: forgotten :many\nSELECT 1 AS id;\n", Things)
    assert message.endswith("things.sql:4: things.forgotten has no method in Things")


def test_method_without_query_is_refused_with_its_line(refused: Refused) -> None:
    class Things:
        @query
        async def find(self, id: int) -> Thing | None: ...

        @query
        async def invented(self) -> None: ...

    line = Things.invented.__code__.co_firstlineno
    assert f"test_binding.py:{line}: Things.invented has no query in " in refused(FIND, Things)


def test_all_mismatches_are_reported_at_once(refused: Refused) -> None:
    class Things:
        @query
        async def find(self, id: int) -> Thing: ...  # type: ignore[empty-body]

        @query
        async def invented(self) -> None: ...

    message = refused(FIND + "\n-- name: forgotten :many\nSELECT 1 AS id;\n", Things)
    assert len(message.split("; ")) == 3


def test_missing_parameter_is_refused(refused: Refused) -> None:
    class Things:
        @query
        async def find(self) -> Thing | None: ...

    message = refused(FIND, Things)
    assert BOTH_PLACES.search(message)
    assert message.endswith("the method lacks :id")


def test_surplus_parameter_is_refused(refused: Refused) -> None:
    class Things:
        @query
        async def find(self, id: int, colour: str) -> Thing | None: ...

    message = refused(FIND, Things)
    assert BOTH_PLACES.search(message)
    assert message.endswith("the query lacks :colour")


def test_argument_without_annotation_is_refused(refused: Refused) -> None:
    class Things:
        @query
        async def find(self, id) -> Thing | None: ...  # type: ignore[no-untyped-def]

    message = refused(FIND, Things)
    assert BOTH_PLACES.search(message)
    assert message.endswith("the argument 'id' has no annotation")


def test_method_without_return_type_is_refused(refused: Refused) -> None:
    class Things:
        @query
        async def find(self, id: int): ...  # type: ignore[no-untyped-def]

    assert BOTH_PLACES.search(refused(FIND, Things))


RETURNS: list[tuple[str, list[Any], list[Any]]] = [
    ("one", [Thing, int, tuple[Thing, Thing | None]], [None, Thing | None, list[Thing]]),
    ("optional", [Thing | None, int | None], [None, Thing, list[Thing], list[Thing] | None, int | str]),
    ("many", [list[Thing], list[int]], [None, Thing, Thing | None, list, tuple[Thing], list[list[int]]]),
    ("rows", [int], [None, Thing, int | None, bool, list[int]]),
    ("exec", [None], [int, Thing, Thing | None, list[Thing]]),
]


@pytest.mark.parametrize(
    ("cardinality", "returns"), [(cardinality, each) for cardinality, right, _ in RETURNS for each in right]
)
def test_return_type_matching_cardinality_is_bound(bind: Bind, cardinality: str, returns: object) -> None:
    class Things:
        @query
        async def find(self) -> None: ...

    Things.find.__annotations__["return"] = returns
    bind(f"-- name: find :{cardinality}\nSELECT 1 AS id;\n", Things)


@pytest.mark.parametrize(
    ("cardinality", "returns"), [(cardinality, each) for cardinality, _, wrong in RETURNS for each in wrong]
)
def test_return_type_contradicting_cardinality_is_refused(refused: Refused, cardinality: str, returns: object) -> None:
    class Things:
        @query
        async def find(self) -> None: ...

    Things.find.__annotations__["return"] = returns
    message = refused(f"-- name: find :{cardinality}\nSELECT 1 AS id;\n", Things)
    assert BOTH_PLACES.search(message)
    assert f":{cardinality} returns " in message


def test_stream_returns_iterator(refused: Refused) -> None:
    class Things:
        @query
        async def find(self) -> list[Thing]: ...  # type: ignore[empty-body]

    assert ":stream returns AsyncIterator[…]" in refused("-- name: find :stream\nSELECT 1 AS id;\n", Things)


def test_tuple_of_non_models_is_refused(refused: Refused) -> None:
    class Things:
        @query
        async def find(self) -> tuple[int, str]: ...  # type: ignore[empty-body]

    assert "models side by side" in refused("-- name: find :one\nSELECT 1 AS id, '' AS name;\n", Things)


LISTING = """\
-- name: listing :many
SELECT id, name FROM things
WHERE id > :after
    AND name = :name -- if given
    AND colour = :colour -- if given
LIMIT :limit;
"""


def test_optional_parameter_requires_default(refused: Refused) -> None:
    class Things:
        @query
        async def listing(self, after: int, name: str, colour: str | None = None, limit: int = 9) -> list[Thing]: ...  # type: ignore[empty-body]

    message = refused(LISTING, Things)
    assert BOTH_PLACES.search(message)
    assert message.endswith(":name may be left out, so it must default to None or NOT_GIVEN")


def test_default_other_than_none_or_not_given_is_refused(refused: Refused) -> None:
    class Things:
        @query
        async def listing(  # type: ignore[empty-body]
            self, after: int, name: str = "", colour: str | None = None, limit: int = 9
        ) -> list[Thing]: ...

    assert ":name may be left out" in refused(LISTING, Things)


def test_order_fills_optional_parameter_by_nullable_field(refused: Refused) -> None:
    class Things:
        @query
        async def make(self, order: ThingOrder) -> None: ...

    sql = "-- name: make :exec\nSELECT :payload, :amount\n , :name -- if given\n;\n"
    assert ":name may be left out, so it" in refused(sql, Things)


def test_required_parameter_cannot_default_to_not_given(refused: Refused) -> None:
    class Things:
        @query
        async def find(self, id: int | NotGiven = NOT_GIVEN) -> Thing | None: ...

    message = refused(FIND, Things)
    assert message.endswith(":id is always sent, so it cannot default to NOT_GIVEN")


def test_parameter_given_by_order_and_argument_is_refused(refused: Refused) -> None:
    class Things:
        @query
        async def make(self, order: ThingOrder, name: str) -> None: ...

    message = refused("-- name: make :exec\nSELECT :name, :payload, :amount;\n", Things)
    assert BOTH_PLACES.search(message)
    assert message.endswith(":name is given twice, by 'order' and 'name'")


def test_orders_fields_are_parameters_one_by_one(refused: Refused) -> None:
    class Things:
        @query
        async def make(self, order: ThingOrder) -> None: ...

    message = refused("-- name: make :exec\nSELECT :name, :amount, :colour;\n", Things)
    assert message.endswith("the method lacks :colour")


# --- Arguments ----------------------------------------------------------------------------------


@pytest.fixture
def listing(bind: Bind) -> BoundQuery:
    class Things:
        @query
        async def listing(  # type: ignore[empty-body]
            self,
            after: int,
            name: str | None = None,
            colour: str | NotGiven | None = NOT_GIVEN,
            limit: int = 100,
        ) -> list[Thing]: ...

    return bind(LISTING, Things)["listing"]


def sent(bound: BoundQuery, *args: Any, **kwargs: Any) -> tuple[list[str], tuple[Any, ...]]:
    """The statement's non-empty lines behind the name line, and its values."""
    call = bound.call(args, kwargs)
    return [line.strip() for line in call.text.decode().splitlines()[2:] if line.strip()], call.values


def test_arguments_are_positional_named_or_default(listing: BoundQuery) -> None:
    whole = sent(listing, 1, "a", "red", 5)
    assert whole[1] == (1, "a", "red", 5)
    assert sent(listing, 1, "a", limit=5, colour="red") == whole
    assert sent(listing, limit=5, colour="red", name="a", after=1) == whole
    assert sent(listing, 1, "a", "red")[1] == (1, "a", "red", 100)


def test_given_arguments_choose_variant(listing: BoundQuery) -> None:
    name, colour = "AND name = $2 -- if given", "AND colour = $2 -- if given"
    assert sent(listing, 1) == (["WHERE id > $1", "LIMIT $2"], (1, 100))
    assert sent(listing, 1, "a") == (["WHERE id > $1", name, "LIMIT $3"], (1, "a", 100))
    assert sent(listing, 1, colour="red") == (["WHERE id > $1", colour, "LIMIT $3"], (1, "red", 100))


def test_none_means_not_given_as_default_and_null_otherwise(listing: BoundQuery) -> None:
    assert sent(listing, 1, None) == sent(listing, 1)
    assert sent(listing, 1, colour=NOT_GIVEN) == sent(listing, 1)
    lines, values = sent(listing, 1, colour=None)
    assert "AND colour = $2 -- if given" in lines
    assert values == (1, None, 100)


def test_not_given_is_refused_where_it_would_become_null(listing: BoundQuery) -> None:
    for arguments in ({"after": NOT_GIVEN}, {"after": 1, "name": NOT_GIVEN}, {"after": 1, "limit": NOT_GIVEN}):
        with pytest.raises(InvalidInput, match="must be given"):
            listing.call((), arguments)


@pytest.mark.parametrize(
    ("args", "kwargs", "problem"),
    [
        ((), {}, "misses the argument 'after'"),
        ((), {"name": "a"}, "misses the argument 'after'"),
        ((1,), {"size": 2}, "unexpected argument 'size'"),
        ((), {"size": 2}, "unexpected argument 'size'"),
        ((1,), {"after": 2}, "repeated argument 'after'"),
        ((1, "a", "red", 5, 6), {}, "takes 4 arguments, 5 were given"),
    ],
)
def test_wrong_arguments_are_type_error_that_names_query(
    listing: BoundQuery, args: tuple[Any, ...], kwargs: dict[str, Any], problem: str
) -> None:
    with pytest.raises(TypeError, match=rf"things\.listing\(\).*{problem}"):
        listing.call(args, kwargs)


# --- Values -------------------------------------------------------------------------------------


@pytest.fixture
def check(bind: Bind) -> Callable[[object, object], Any]:
    """What a parameter ``value`` of an annotation makes of a value."""

    def check(annotation: object, value: object) -> Any:
        class Things:
            @query
            async def find(self, value: object) -> None: ...

        Things.find.__annotations__["value"] = annotation
        (bound,) = bind("-- name: find :exec\nSELECT :value;\n", Things).values()
        (checked,) = bound.call((value,), {}).values
        return checked

    return check


Check = Callable[[object, object], Any]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (TokenNumber, 1.5),
        (TokenNumber, Decimal("NaN")),
        (TokenNumber, Decimal("sNaN")),
        (TokenNumber, Decimal("Infinity")),
        (TokenNumber, Decimal("1e-19")),
        (TokenNumber, Decimal("1e20")),
        (TokenNumber, True),
        (TokenNumber, "a lot"),
        (TokenNumber, None),
        (int, True),
        (int, 1.0),
        (int, "1"),
        (int, MAX_BIGINT + 1),
        (int, -MAX_BIGINT - 2),
        (int | None, MAX_BIGINT + 1),
        (Annotated[int, "described"], MAX_BIGINT + 1),
        (bool, 1),
        (bool, "true"),
        (AwareDatetime, datetime(2026, 1, 1)),  # noqa: DTZ001  # naive on purpose
        (AwareDatetime, "2026-01-01T00:00:00Z"),
        (AwareDatetime, 0),
        (UUID, "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        (UUID, b"0123456789abcdef"),
        (UUID, None),
        (Name, "x" * 256),
        (Name, ""),
        (str, b"bytes"),
        (str, None),
        (JsonValue, {"set": {1}}),
        (JsonValue, Decimal(1)),
        (list[UUID], ["f47ac10b-58cc-4372-a567-0e02b2c3d479"]),
    ],
)
def test_unstorable_value_is_refused_by_name(check: Check, annotation: object, value: object) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(annotation, value)
    assert refused.value.field == "value"
    assert str(refused.value).startswith("value: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("annotation", "value", "goes_out_as"),
    [
        (TokenNumber, Decimal("1.50"), Decimal("1.50")),
        (TokenNumber, 3, Decimal(3)),
        (TokenNumber, "6.632e-11", Decimal("6.632e-11")),
        (int, MAX_BIGINT, MAX_BIGINT),
        (int, -MAX_BIGINT - 1, -MAX_BIGINT - 1),
        (int | None, None, None),
        (bool, False, False),
        (AwareDatetime, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)),
        (Name, "x" * 255, "x" * 255),
        (list[str], ["a"], ["a"]),
    ],
)
def test_storable_value_is_sent_unchanged(check: Check, annotation: object, value: object, goes_out_as: object) -> None:
    assert repr(check(annotation, value)) == repr(goes_out_as)


@pytest.mark.parametrize("annotation", [JsonValue, JsonValue | None, dict[str, JsonValue], dict[str, JsonValue] | None])
def test_documents_are_wrapped_for_json(check: Check, annotation: object) -> None:
    wrapped = check(annotation, {"a": [1, None]})
    assert isinstance(wrapped, Jsonb)
    assert json.loads(wrapped.obj) == {"a": [1, None]}


def test_none_for_document_is_null(check: Check) -> None:
    assert check(dict[str, JsonValue] | None, None) is None
    assert check(JsonValue, None) is None


@pytest.fixture
def make(bind: Bind) -> BoundQuery:
    class Things:
        @query
        async def make(self, order: ThingOrder, digest: bytes) -> None: ...

    return bind("-- name: make :exec\nSELECT :digest, :amount, :payload, :name;\n", Things)["make"]


def test_order_fields_fill_parameters(make: BoundQuery) -> None:
    call = make.call((ThingOrder(name="a", payload=[1], amount=Decimal("0.5")), b"d"), {})
    digest, amount, payload, name = call.values
    assert (digest, amount, payload.obj, name) == (b"d", Decimal("0.5"), "[1]", "a")
    assert make.call((ThingOrder(name="a"), b"d"), {}).values == (b"d", Decimal(0), None, "a")


def test_order_values_are_bound_by_name(make: BoundQuery) -> None:
    order = ThingOrder.model_construct(name="a")
    order.__dict__.clear()
    order.__dict__.update(amount=Decimal(1), name="a", payload=None)
    assert make.call((order, b"d"), {}).values == (b"d", Decimal(1), None, "a")


def test_other_argument_in_place_of_order_is_refused(make: BoundQuery) -> None:
    for wrong in ({"name": "a"}, None, Thing(id=1, name="a"), NOT_GIVEN):
        with pytest.raises(InvalidInput, match="ThingOrder expected"):
            make.call((wrong, b"d"), {})


# --- Rows ---------------------------------------------------------------------------------------

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


EXAMPLES: dict[str, Any] = {
    "list[uuid.UUID]": [UUID(int=7), UUID(int=8)],
    "UUID": UUID(int=7),
    "Decimal": Decimal("0E-18"),
    "AwareDatetime": NOW,
    "JsonValue": {"a": [1, None]},
    "list": ["a", "b"],
    "SWAP": "SWAP",
    "simulation": "live",
    "bool": True,
    "int": 3,
    "str": "text",
}


def example(model: type[BaseModel]) -> dict[str, Any]:
    """A value for each field, as the driver would deliver it."""
    return {
        name: next(value for kind, value in EXAMPLES.items() if kind in str(field.annotation))
        for name, field in model.model_fields.items()
    }


MODELS: list[type[BaseModel]] = [Thing, User, Agent, AgentWallet, AgentPosition, AgentTransaction]


def assert_same(made: Any, validated: BaseModel) -> None:
    """In every way that a caller could notice."""
    assert type(made) is type(validated)
    assert made == validated
    assert repr(made) == repr(validated)
    assert list(made.model_dump()) == list(validated.model_dump())
    assert made.model_dump() == validated.model_dump()
    assert made.model_dump_json() == validated.model_dump_json()
    assert made.model_dump(exclude_unset=True) == validated.model_dump(exclude_unset=True)
    assert pickle.loads(pickle.dumps(made)) == validated
    assert copy.copy(made) == copy.deepcopy(made) == made.model_copy() == validated


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "out of order"])
def test_built_row_equals_validated_row(model: type[BaseModel], reverse: bool) -> None:
    values = example(model)
    columns = list(values)[::-1] if reverse else list(values)
    make = row_maker(model, columns, "q")
    assert_same(make([values[column] for column in columns]), model.model_validate(values))


def test_built_row_is_frozen() -> None:
    made = row_maker(Thing, ["id", "name"], "q")([1, "a"])
    with pytest.raises(ValidationError):
        made.name = "b"
    with pytest.raises(ValidationError):
        made.colour = "red"
    assert hash(made) == hash(Thing(id=1, name="a"))


def test_rows_share_no_mutable_value() -> None:
    make = row_maker(Thing, ["id", "name"], "q")
    first, second = make([1, "a"]), make([2, "b"])
    changed = first.model_copy(update={"name": "c"})
    assert (first.name, second.name, changed.name) == ("a", "b", "c")


@settings(deadline=None)  # the machine may be busy
@given(
    st.fixed_dictionaries(
        {
            "id": st.uuids(),
            "email": st.text(),
            "password_hash": st.none() | st.text(),
            "created_at": st.datetimes(timezones=st.just(UTC)),
            "failed_login_attempts": st.integers(0, 2**31 - 1),
            "locked_until": st.none() | st.datetimes(timezones=st.just(UTC)),
        }
    ),
    st.permutations(list(User.model_fields)),
)
def test_any_built_user_equals_validated_user(values: dict[str, Any], columns: list[str]) -> None:
    made = row_maker(User, columns, "q")([values[column] for column in columns])
    assert_same(made, User.model_validate(values))


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None)  # the machine may be busy
@given(
    st.decimals(min_value=-(10**19), max_value=10**19, places=18),
    st.none() | st.decimals(min_value=0, max_value=10**6, places=4),
    DOCUMENTS,
    st.none() | st.text(max_size=20),
)
def test_any_built_transaction_equals_validated_transaction(
    amount: Decimal, percent: Decimal | None, payload: Any, symbol: str | None
) -> None:
    values = example(AgentTransaction) | {
        "input_amount": amount,
        "slippage": percent,
        "swap_payload": payload,
        "routes": payload,
        "input_symbol": symbol,
    }
    made = row_maker(AgentTransaction, list(values), "q")(list(values.values()))
    assert_same(made, AgentTransaction.model_validate(values))


@pytest.mark.parametrize(
    "columns", [["id"], ["id", "name", "colour"], ["id", "title"], ["id", "id"], ["ID", "name"], []]
)
def test_columns_other_than_model_fields_are_refused(columns: list[str]) -> None:
    with pytest.raises(QueryBindingError, match=r"^things\.find: the columns .* are not the fields of Thing"):
        row_maker(Thing, columns, "things.find")


PAIR = ["id", "name", "id", "name"]


def test_tuple_of_models_takes_columns_in_order() -> None:
    make = row_maker(tuple[Thing, Thing | None], PAIR, "q")
    assert make([1, "a", 2, "b"]) == (Thing(id=1, name="a"), Thing(id=2, name="b"))
    assert make([1, "a", None, None]) == (Thing(id=1, name="a"), None)


@pytest.mark.parametrize("columns", [PAIR[:2], PAIR[:3], [*PAIR, "id"], ["id", "id", "name", "name"]])
def test_columns_other_than_fields_of_tuple_models_are_refused(columns: list[str]) -> None:
    with pytest.raises(QueryBindingError):
        row_maker(tuple[Thing, Thing | None], columns, "q")


def test_scalar_result_has_one_column() -> None:
    assert row_maker(int, ["count"], "q")([5]) == 5
    for columns in ([], ["a", "b"]):
        with pytest.raises(QueryBindingError, match="one column expected"):
            row_maker(int, columns, "q")


@pytest.fixture
def shaped(bind: Bind) -> Callable[[str, object, list[Any]], Any]:
    """What a query of a cardinality makes of its rows."""

    def shaped(cardinality: str, returns: object, rows: list[Any]) -> Any:
        class Things:
            @query
            async def find(self) -> None: ...

        Things.find.__annotations__["return"] = returns
        (bound,) = bind(f"-- name: find :{cardinality}\nSELECT 1 AS id;\n", Things).values()
        assert bound.shape is not None
        return bound.shape(rows, bound.name)

    return shaped


Shaped = Callable[[str, object, list[Any]], Any]


def test_many_returns_all_rows(shaped: Shaped) -> None:
    assert shaped("many", list[int], [1, 2]) == [1, 2]


def test_one_returns_row(shaped: Shaped) -> None:
    assert shaped("one", int, [1]) == 1


@pytest.mark.parametrize(("rows", "error", "found"), [([], NoRow, "none"), ([1, 2], TooManyRows, "2 rows")])
def test_one_refuses_other_row_counts(shaped: Shaped, rows: list[int], error: type[Exception], found: str) -> None:
    with pytest.raises(error, match=rf"^things\.find promises one row, but returned {found}$"):
        shaped("one", int, rows)


@pytest.mark.parametrize(("rows", "result"), [([], None), ([1], 1)])
def test_optional_returns_row_or_none(shaped: Shaped, rows: list[int], result: int | None) -> None:
    assert shaped("optional", int | None, rows) == result


def test_optional_refuses_more_than_one_row(shaped: Shaped) -> None:
    with pytest.raises(TooManyRows, match=r"^things\.find promises at most one row, but returned 3 rows$"):
        shaped("optional", int | None, [1, 2, 3])


def test_binding_errors_derive_from_package_root() -> None:
    assert issubclass(QueryBindingError, NexgentError)
    assert issubclass(InvalidInput, NexgentError)
