"""Messages and entries: which bytes are preserved, and their JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners.functions.entries import Entry, Fields, RedisMessage, by_key
from listeners.text import decode


@pytest.mark.parametrize(
    ("trigger", "message", "expected"),
    [
        ("q", "a", '{"Trigger":"q","Message":"a"}'),
        ("q", "", '{"Trigger":"q","Message":""}'),
        ("q", 'say "hi" \\ \n\x00', '{"Trigger":"q","Message":"say \\"hi\\" \\\\ \\n\\u0000"}'),
        ("clé", "naïve 🐟", '{"Trigger":"clé","Message":"naïve 🐟"}'),
        ("q", "\udcff", '{"Trigger":"q","Message":"\udcff"}'),
    ],
)
def test_json_text(trigger: str, message: str, expected: str) -> None:
    """The JSON of a message is exactly its trigger and its message, in this order and without spaces."""
    whole = RedisMessage(trigger, message, id="1-1", fields=Fields([(b"a", b"b")]), pattern="*", deliveries=3, epoch=4)
    assert whole.to_json() == expected


def test_a_stream_entry_as_json() -> None:
    """The Message of a stream entry is a JSON object of its fields, as text."""
    message = Entry("s", flat_fields=[b"a", b"b", b"c", b"d"], id="1-1").message()
    assert message.to_json() == r'{"Trigger":"s","Message":"{\"a\":\"b\",\"c\":\"d\"}"}'


@given(st.binary(), st.binary())
def test_bytes_survive_json(key: bytes, payload: bytes) -> None:
    """Bytes that are not UTF-8 survive a round trip through JSON."""
    written = Entry(decode(key), payload=payload).message().to_json().encode("utf-8", "surrogateescape")
    read = json.loads(written.decode("utf-8", "surrogateescape"))
    assert {name: value.encode("utf-8", "surrogateescape") for name, value in read.items()} == {
        "Trigger": key,
        "Message": payload,
    }


@given(st.binary())
def test_payloads_are_preserved(payload: bytes) -> None:
    """The body is the payload's bytes, which can also be recovered from the message's text."""
    entry = Entry("q", payload=payload)
    assert entry.body() == payload
    assert entry.message().message.encode("utf-8", "surrogateescape") == payload


@given(st.lists(st.tuples(st.binary(), st.binary()), min_size=1).map(tuple))
def test_fields_are_preserved(fields: tuple[tuple[bytes, bytes], ...]) -> None:
    """A stream entry keeps every field unchanged; in a dict or JSON, the last of duplicate names wins."""
    entry = Entry("s", flat_fields=[part for pair in fields for part in pair])
    last = {decode(name): decode(value) for name, value in dict(fields).items()}
    assert entry.message().fields == Fields(fields)
    assert entry.message().fields == last
    assert json.loads(entry.message().message) == last
    assert json.loads(entry.body().decode("utf-8", "surrogateescape")) == last


def test_what_a_message_carries() -> None:
    """A message has the entry's ID, fields, pattern, delivery count and epoch."""
    entry = Entry("s", flat_fields=[b"a", b"b"], id="1-2", pattern="s*", deliveries=3, epoch=7)
    assert entry.message() == RedisMessage("s", '{"a":"b"}', "1-2", Fields([(b"a", b"b")]), "s*", 3, 7)


def test_an_empty_element_has_a_body() -> None:
    """An empty element has an empty body and message, unlike an entry without a payload."""
    entry = Entry("q", payload=b"")
    assert (entry.body(), entry.message().message) == (b"", "")


def test_entries_by_key() -> None:
    """Entries are grouped by key, in the order given."""
    a1, b1, a2 = Entry("a", payload=b"1"), Entry("b", payload=b"1"), Entry("a", payload=b"1")
    [(first, of_a), (second, of_b)] = by_key([a1, b1, a2])
    assert (first, second) == ("a", "b")
    assert of_a == [a1, a2]
    assert of_a[0] is a1
    assert of_b == [b1]


def test_fields_are_a_mapping() -> None:
    """Fields are read by name as text, and `pairs` returns all of them as bytes."""
    message = Entry("s", flat_fields=[b"kind", b"a", b"kind", b"b", b"raw", b"\xff"]).message()
    assert message.fields is not None
    assert (message.fields["kind"], message.fields.get("other"), "raw" in message.fields) == ("b", None, True)
    assert dict(message.fields) == {"kind": "b", "raw": "\udcff"}
    assert message.fields.pairs() == ((b"kind", b"a"), (b"kind", b"b"), (b"raw", b"\xff"))
    assert len({message.fields, Fields(message.fields.pairs())}) == 1
