"""What functions receive for annotations that pydantic validates: of elements and messages, and of stream entries."""

import enum
import gzip
import typing
import uuid
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Optional, Union

import pytest
from pydantic import (
    AfterValidator,
    Base64Bytes,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    HttpUrl,
    Json,
    SecretStr,
    Strict,
    StringConstraints,
)
from typing_extensions import TypeAliasType

from listeners.errors import Reject
from listeners.functions.annotations import FromField
from listeners.functions.binding import bind
from listeners.functions.conversion import JSON_TYPE
from listeners.functions.entries import Entry, Fields, RedisMessage
from tests.listeners.functions.test_binding import Order, Parcel, Receipt, element, entry, function_with


class Exact(BaseModel):
    """A strict model."""

    model_config = ConfigDict(strict=True)
    number: int
    on: date = date(2000, 1, 1)
    paid: bool = False


class Cat(BaseModel):
    """One member of a discriminated union."""

    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    """The other one."""

    kind: Literal["dog"]
    tricks: int


class Blob(BaseModel):
    """A model with a field that is not text."""

    name: str
    content: bytes


class Envelope(BaseModel):
    """A stream entry, one field of which is JSON."""

    data: Json[Order]


class Color(enum.StrEnum):
    """Text."""

    RED = "red"
    ONE = "1"


def doubled(order: Order) -> Order:
    """A validator that changes what it gets."""
    return Order(number=order.number * 2)


def swapped(message: RedisMessage) -> str:
    """A validator that makes something else of a message."""
    return message.message[::-1]


Number = NewType("Number", int)
Text = NewType("Text", str)
Pair = TypeAliasType("Pair", tuple[int, int])
Doubled = TypeAliasType("Doubled", Annotated[Order, AfterValidator(doubled)])
Pet = Annotated[Cat | Dog, Discriminator("kind")]
JSON = b'{"number": 5}'
UUID = "12345678123456781234567812345678"
ORDER = Order(number=5)
PAYLOADS: list[tuple[Any, bytes, object]] = [
    # Nothing of an annotation is dropped.
    (Annotated[Order, AfterValidator(doubled)], JSON, Order(number=10)),
    (Annotated[Order, BeforeValidator(lambda given: {"number": given["number"] + 1})], JSON, Order(number=6)),
    (Annotated[bytes, BeforeValidator(gzip.decompress)], gzip.compress(b"x"), b"x"),
    (Annotated[bytes, AfterValidator(bytes.upper)], b"x", b"X"),
    (
        Annotated[Order, BeforeValidator(lambda raw: {"number": len(gzip.decompress(raw))})],
        gzip.compress(b"12345"),
        ORDER,
    ),
    (Annotated[Order, BeforeValidator(lambda text: {"number": text[1:]})], b"#5", ORDER),
    (Annotated[str, AfterValidator(str.upper)], b"x", "X"),
    (Annotated[str, StringConstraints(strip_whitespace=True)], b" 5 ", "5"),
    (Annotated[RedisMessage, AfterValidator(swapped)], b"abc", "cba"),
    (Annotated[Any, AfterValidator(swapped)], b"abc", "cba"),
    (Annotated[dict[str, Any], AfterValidator(len)], JSON, 1),
    (Doubled, JSON, Order(number=10)),
    (Doubled | None, JSON, Order(number=10)),
    # Unions.
    (Order | None, JSON, ORDER),
    (Order | None, b"null", None),
    (Optional[Order], b" null ", None),  # noqa: UP045
    (Union[Order, int], b"5", 5),  # noqa: UP007
    (Cat | Dog, b'{"kind": "dog", "tricks": 3}', Dog(kind="dog", tricks=3)),
    (Pet, b'{"kind": "cat", "lives": 9}', Cat(kind="cat", lives=9)),
    (Order | str, JSON, ORDER),
    (Order | str, b"hello", "hello"),
    (str | None, b"null", "null"),
    (str | None, JSON, '{"number": 5}'),
    (bytes | None, b"\xff", b"\xff"),
    (str | bytes, b"a", "a"),
    (str | bytes, b"\xff", b"\xff"),
    (RedisMessage | None, b"a", RedisMessage("q", "a")),
    (list[int] | None, b"[1, 2]", [1, 2]),
    # Values that are not objects.
    (int, b"5", 5),
    (int | None, b"5", 5),
    (Annotated[int, Field(ge=5)], b"5", 5),
    (Annotated[int, Strict()], b"5", 5),
    (float, b"1.5", 1.5),
    (bool, b"true", True),
    (None, b"null", None),
    (Number, b"5", 5),
    (Text, b"5", "5"),
    (Decimal, b"0.12345678901234567890123", Decimal("0.12345678901234567890123")),
    (date, b"2024-02-29", date(2024, 2, 29)),
    (date, b'"2024-02-29"', date(2024, 2, 29)),
    (Annotated[date, Strict()], b"2024-02-29", date(2024, 2, 29)),
    (uuid.UUID, UUID.encode(), uuid.UUID(UUID)),
    (uuid.UUID, f'"{UUID}"'.encode(), uuid.UUID(UUID)),
    (HttpUrl, b"http://example.com", HttpUrl("http://example.com")),
    (SecretStr, b"5", SecretStr("5")),
    (Literal["a", "b"], b"a", "a"),
    (Literal["a", "b"], b'"a"', "a"),
    (Literal[5], b"5", 5),
    (Color, b"red", Color.RED),
    (Color, b"1", Color.ONE),
    (Color, b'"red"', Color.RED),
    (Base64Bytes, b"aGk=", b"hi"),
    (object, b"a", RedisMessage("q", "a")),
    # Collections.
    (Sequence[int], b"[1, 2]", [1, 2]),
    (tuple[int, ...], b" [1, 2]", (1, 2)),
    (set[int], b"[1, 1]", {1}),
    (Pair, b"[1, 2]", (1, 2)),
    (Mapping[str, int], b'{"a": 1}', {"a": 1}),
    (dict[int, list[Order]], b'{"1": [{"number": 5}]}', {1: [ORDER]}),
    (Json[Order], JSON, ORDER),
    (Json[Order] | None, JSON, ORDER),
    (Json[Order] | None, b"null", None),
    (Annotated[Any, JSON_TYPE()], JSON, {"number": 5}),
    (JSON_TYPE, JSON, {"number": 5}),
    (JSON_TYPE | None, JSON, {"number": 5}),
    (Exact, b'{"number": 5, "on": "2024-02-29"}', Exact(number=5, on=date(2024, 2, 29))),
]
NUMBER = (b"number", b"5")
IN_FIELD = (b"data", JSON)
ENTRIES: list[tuple[Any, list[tuple[bytes, bytes]], object]] = [
    (Exact, [NUMBER, (b"on", b"2024-02-29"), (b"paid", b"true")], Exact(number=5, on=date(2024, 2, 29), paid=True)),
    (Exact | None, [NUMBER], Exact(number=5)),
    (Annotated[Order, AfterValidator(doubled)], [NUMBER], Order(number=10)),
    (Annotated[Order, BeforeValidator(lambda fields: {"number": fields["n"]})], [(b"n", b"5")], ORDER),
    (Annotated[int, BeforeValidator(lambda fields: fields["n"])], [(b"n", b"5")], 5),
    (Cat | Dog, [(b"kind", b"dog"), (b"tricks", b"3")], Dog(kind="dog", tricks=3)),
    (Pet, [(b"kind", b"cat"), (b"lives", b"9")], Cat(kind="cat", lives=9)),
    (Parcel | None, [NUMBER], Parcel(5)),
    (Mapping[str, int], [NUMBER], {"number": 5}),
    (dict[str, bytes], [(b"a", b"\xff")], {"a": b"\xff"}),
    (Blob, [(b"name", b"a"), (b"content", b"\xff")], Blob(name="a", content=b"\xff")),
    (Annotated[Any, JSON_TYPE(), FromField("data")], [IN_FIELD], {"number": 5}),
    (Envelope, [IN_FIELD], Envelope.model_validate({"data": JSON})),
    (Annotated[str, AfterValidator(str.upper)], [(b"a", b"b")], '{"A":"B"}'),
    (Annotated[bytes, AfterValidator(bytes.upper)], [(b"a", b"b")], b'{"A":"B"}'),
    (RedisMessage | None, [NUMBER], RedisMessage("s", '{"number":"5"}', "1-1", Fields([NUMBER]))),
    (Annotated[Order, FromField("data")], [IN_FIELD, (b"trace", b"1")], ORDER),
    (Annotated[Order, AfterValidator(doubled), FromField("data")], [IN_FIELD], Order(number=10)),
    (Annotated[Order | None, FromField("data")], [(b"data", b"null")], None),
    (Annotated[Receipt, FromField("data")], [IN_FIELD], {"number": 5}),
    (Annotated[dict[str, Any], FromField("data")], [IN_FIELD], {"number": 5}),
    (Annotated[dict[str, str], FromField("data")], [(b"data", b'{"a": "b"}')], {"a": "b"}),
    (Annotated[str, FromField("data")], [IN_FIELD], JSON.decode()),
    (Annotated[bytes, FromField("data")], [(b"data", b"\xff")], b"\xff"),
    (Annotated[bytes, BeforeValidator(gzip.decompress), FromField("z")], [(b"z", gzip.compress(b"x"))], b"x"),
    (Annotated[int, FromField("number")], [(b"number", b"4"), NUMBER], 5),
    (Annotated[tuple[int, ...], FromField("data")], [(b"data", b"[1]")], (1,)),
]
ALL = [
    *((annotation, element(payload), expected) for annotation, payload, expected in PAYLOADS),
    *((annotation, entry(*fields), expected) for annotation, fields, expected in ENTRIES),
]


@pytest.mark.parametrize(("annotation", "given", "expected"), ALL)
def test_one_entry(annotation: Any, given: Entry, expected: object) -> None:
    """A parameter with this annotation receives an entry as this value."""
    binding = bind(function_with(annotation))
    assert not binding.batch
    argument = binding.convert(given)
    assert (type(argument), argument) == (type(expected), expected)


@pytest.mark.parametrize(("annotation", "given", "expected"), ALL)
def test_a_batch(annotation: Any, given: Entry, expected: object) -> None:
    """A list of this type receives a batch of such values."""
    binding = bind(function_with(list[annotation]))
    assert binding.batch
    assert binding.convert(given) == expected


@pytest.mark.parametrize(
    "annotation",
    [
        TypeAliasType("Orders", list[Order]),
        NewType("Orders", list[Order]),
        Annotated[list[Order], "a comment"],
    ],
)
def test_other_names_of_a_list(annotation: Any) -> None:
    """An alias of a list is a batch, too, and metadata without effect does not change that."""
    binding = bind(function_with(annotation))
    assert binding.batch
    assert binding.convert(element(JSON)) == ORDER


@pytest.mark.parametrize(
    ("annotation", "given", "reason"),
    [
        (Order | None, element(b'{"number": "secret"}'), r"^not a valid Order \| None: .*number: .*valid integer"),
        (list[list[int]], element(b'["secret"]'), r"^not a valid list\[int\]: 0: .*valid integer"),
        (Order, element(b'{"number": '), r"^not a valid Order: the entry: Invalid JSON: EOF while parsing"),
        (Annotated[Order, BeforeValidator(lambda one: {**one})], element(b'{"number": '), r"Invalid JSON: EOF"),
        (uuid.UUID, element(b"secret"), r"^not a valid UUID: the entry: Input should be a valid UUID"),
        (Literal["a"], element(b"secret"), r"^not a valid Literal\['a'\]: the entry: Input should be 'a'"),
        (int, element(b"\xff"), r"^not a valid int: the entry: "),
        (Annotated[str, AfterValidator(str)], element(b"\xff"), r"^the entry is not UTF-8"),
        (Order, entry((b"data", b"secret")), r"Annotated\[Order, FromField\(NAME\)\] takes the value of the entry"),
        (int, entry(NUMBER), r"^not a valid int: .*FromField\(NAME\)"),
        (Annotated[Order, FromField("data")], entry(NUMBER), r"^the entry has no field 'data', which FromField names$"),
        (Annotated[Order, FromField("data")], entry((b"data", b'{"number": "secret"}')), r"^not a valid Order: number"),
    ],
)
def test_entries_that_cannot_be_converted(annotation: Any, given: Entry, reason: str) -> None:
    """The reason of a rejection names the whole type and what is wrong, but not the content."""
    with pytest.raises(Reject, match=reason) as caught:
        bind(function_with(annotation)).convert(given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("annotation", [bytes, str, RedisMessage, Any, Text, Annotated[str, FromField("number")]])
def test_types_that_need_no_validation(annotation: Any) -> None:
    """Types that an entry has already are not validated, so their size has no limit."""
    assert not bind(function_with(annotation)).validates
    assert bind(function_with(typing.Annotated[annotation, AfterValidator(id)])).validates
