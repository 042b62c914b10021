"""What a function receives: every kind of parameter, for list elements and stream entries."""

import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypeAliasType, TypedDict

from listeners.errors import BindingError, Reject
from listeners.functions.annotations import FromField
from listeners.functions.binding import bind
from listeners.functions.entries import Entry, Fields, RedisMessage


class Order(BaseModel):
    number: int
    note: str = ""


@dataclass
class Parcel:
    number: int


class Receipt(TypedDict):
    number: int


class OldReceipt(typing.TypedDict):
    number: int


class Unfinished(BaseModel):
    part: "NotDefinedAnywhere"  # type: ignore[name-defined]  # noqa: F821


@dataclass
class UnfinishedParcel:
    part: "NotDefinedAnywhere"  # type: ignore[name-defined]  # noqa: F821


class Unsupported:
    """A type that pydantic does not support."""


T = typing.TypeVar("T")
FieldAlias = TypeAliasType("FieldAlias", typing.Annotated[Order, FromField("a")])
FieldPair = TypeAliasType("FieldPair", tuple[typing.Annotated[T, FromField("a")], T], type_params=(T,))
Tree = TypeAliasType("Tree", "dict[str, Tree] | int")


def function_with(annotation: Any) -> Callable[..., None]:
    """Return a function whose parameter `message` has this annotation."""

    def handle(message):  # type: ignore[no-untyped-def]
        pass

    handle.__annotations__["message"] = annotation
    return handle


def element(payload: bytes) -> Entry:
    """A list element."""
    return Entry("q", payload=payload)


def entry(*fields: tuple[bytes, bytes]) -> Entry:
    """A stream entry."""
    return Entry("s", flat_fields=[part for pair in fields for part in pair], id="1-1")


JSON = b'{"number": 5}'
NUMBER = (b"number", b"5")
KINDS: list[tuple[Any, Entry, object]] = [
    (RedisMessage, element(JSON), RedisMessage("q", '{"number": 5}')),
    (Any, element(JSON), RedisMessage("q", '{"number": 5}')),
    (str, element(JSON), '{"number": 5}'),
    (str, element(b""), ""),
    (bytes, element(JSON), JSON),
    (bytes, element(b""), b""),
    (bytes, element(b"\xff\x00"), b"\xff\x00"),
    (RedisMessage, element(b"\xff"), RedisMessage("q", "\udcff")),
    (dict, element(JSON), {"number": 5}),
    (dict[str, Any], element(JSON), {"number": 5}),
    (dict[str, int], element(b'{"a": "7"}'), {"a": 7}),
    (typing.Dict[str, int], element(JSON), {"number": 5}),  # noqa: UP006
    (dict, element(b'{"a": 1, "a": 2}'), {"a": 2}),
    (Order, element(JSON), Order(number=5)),
    (Parcel, element(JSON), Parcel(5)),
    (Receipt, element(JSON), {"number": 5}),
    (typing.Annotated[Order, Field()], element(JSON), Order(number=5)),
    (RedisMessage, entry(NUMBER), RedisMessage("s", '{"number":"5"}', "1-1", Fields([NUMBER]))),
    (
        RedisMessage,
        entry((b"a", b"\xff"), (b"a", b"1")),
        RedisMessage("s", '{"a":"1"}', "1-1", Fields([(b"a", b"\xff"), (b"a", b"1")])),
    ),
    (str, entry(NUMBER), '{"number":"5"}'),
    (bytes, entry(NUMBER), b'{"number":"5"}'),
    (bytes, entry((b"a", b"\xff")), b'{"a":"\xff"}'),
    (dict, entry(NUMBER), {"number": "5"}),
    (dict, entry((b"a", b"1"), (b"b", b""), (b"a", b"2")), {"a": "2", "b": ""}),
    (dict[str, int], entry(NUMBER), {"number": 5}),
    (Order, entry(NUMBER, (b"note", "é".encode())), Order(number=5, note="é")),
    (Order, entry((b"number", b"1"), NUMBER), Order(number=5)),
    (Parcel, entry(NUMBER), Parcel(5)),
    (Receipt, entry(NUMBER), {"number": 5}),
]


@pytest.mark.parametrize(("annotation", "given", "expected"), KINDS)
def test_one_entry(annotation: Any, given: Entry, expected: object) -> None:
    """A parameter with this annotation receives an entry as this value, one call per entry."""
    binding = bind(function_with(annotation))
    assert not binding.batch
    argument = binding.convert(given)
    assert argument == expected
    assert type(argument) is type(expected)


@pytest.mark.parametrize(("annotation", "given", "expected"), KINDS)
def test_a_batch(annotation: Any, given: Entry, expected: object) -> None:
    """A list with this element type receives all entries of a batch in one call, each as this value."""
    binding = bind(function_with(list[annotation]))
    assert binding.batch
    assert binding.convert(given) == expected


@pytest.mark.parametrize("annotation", [list, typing.List, list[Any]])  # noqa: UP006
def test_a_bare_list(annotation: Any) -> None:
    """A list without an element type receives a batch of RedisMessages."""
    binding = bind(function_with(annotation))
    assert binding.batch
    assert binding.convert(element(b"a")) == RedisMessage("q", "a")


def test_no_annotation() -> None:
    """A parameter without an annotation receives a RedisMessage."""

    def handle(message):  # type: ignore[no-untyped-def]
        pass

    assert bind(handle).convert(element(b"a")) == RedisMessage("q", "a")


@pytest.mark.parametrize(
    ("annotation", "given"),
    [
        (str, element(b"secret\xff")),
        (dict, element(b"")),
        (dict, element(b"secret")),
        (dict, element(b'["secret"]')),
        (dict, element(b'{"a": "secret\xff"}')),
        (dict[str, int], element(b'{"a": "secret"}')),
        (Order, element(b'{"number": "secret"}')),
        (Order, element(b"{}")),
        (Parcel, element(b'{"number": "secret"}')),
        (Receipt, element(b'{"number": "secret"}')),
        (str, entry((b"a", b"secret\xff"))),
        (dict, entry((b"a", b"secret\xff"))),
        (dict, entry((b"\xff", b"secret"))),
        (Order, entry((b"number", b"secret"))),
        (Order, entry((b"number", b"\xff"))),
        (Parcel, entry((b"n", b"secret"))),
    ],
)
def test_entries_that_cannot_be_converted(annotation: Any, given: Entry) -> None:
    """An entry that cannot be converted is rejected, with a reason that does not reveal its content."""
    with pytest.raises(Reject) as caught:
        bind(function_with(annotation)).convert(given)
    assert str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_reason_of_a_rejection() -> None:
    """The reason names the type, the location and the number of errors."""
    with pytest.raises(Reject, match=r"^not a valid Order: number: .*valid integer.* \(errors: 2\)$"):
        bind(function_with(Order)).convert(element(b'{"number": "x", "note": 1}'))


@pytest.mark.parametrize(
    "annotation",
    [
        Unsupported,
        dict[str, Unsupported],
        Unfinished | None,
        typing.Sequence[RedisMessage],
        list[list[RedisMessage]],
        typing.Annotated[RedisMessage, FromField("a")],
        typing.Annotated[Order, FromField("a")] | None,
        FieldAlias | None,
        typing.NewType("FieldType", FieldAlias) | None,
        FieldPair[int] | None,
        typing.Annotated[typing.Annotated[str, FromField("a")], FromField("b")],
        typing.Annotated[list[Order], Field(max_length=3)],
        typing.Annotated[list[Order], FromField("a")],
        Unfinished,
        UnfinishedParcel,
        list[Unfinished],
        "NotDefinedAnywhere",
        "typing.NotThere",
        "not python",
    ],
)
def test_unsupported_annotations(annotation: Any) -> None:
    """An unsupported annotation is rejected at once, and the error names the function, the parameter and a fix."""
    with pytest.raises(BindingError) as caught:
        bind(function_with(annotation))
    assert caught.value.field == "function_with.<locals>.handle(message)"
    assert caught.value.fix.startswith(
        (
            "It cannot be resolved",
            "pydantic cannot validate",
            "FromField has no effect",
            "It has 2 FromField.",
            "An entry is one RedisMessage",
            "A RedisMessage has all fields",
            "A list is a batch",
        )
    )


def test_an_alias_that_contains_itself() -> None:
    """Its parts are examined once."""
    assert bind(function_with(Tree)).convert(element(b'{"a": {"b": 1}}')) == {"a": {"b": 1}}


def test_typed_dict_before_python_3_12() -> None:
    """A TypedDict of `typing` is bound if pydantic supports it; otherwise the error names the one to use."""
    if sys.version_info >= (3, 12):
        assert bind(function_with(OldReceipt)).convert(element(JSON)) == {"number": 5}
        return
    with pytest.raises(BindingError, match=r"handle\(message\) 'OldReceipt'.*typing_extensions\.TypedDict"):
        bind(function_with(OldReceipt))
