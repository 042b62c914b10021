"""What a dead letter contains."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listeners.dead_letters.letters import DeadLetter, UnreadableLetter, parse_letter
from listeners.functions.entries import Entry
from tests.support.letters import letter_fields

KEY = "work"
NOT_UTF8 = b'\xff\xed\xa0\x80\x00"\\\n\xf0\x9f\x98\x80'


def parsed(fields: list[bytes]) -> DeadLetter:
    """Parse the fields of a readable dead letter."""
    letter = parse_letter(KEY, b"1-1", fields)
    assert isinstance(letter, DeadLetter)
    return letter


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5), st.sampled_from((1, 600)))
def test_the_fields_of_an_entry_are_kept_byte_for_byte(parts: list[bytes], times: int) -> None:
    """Names and values of any bytes come back, in order and with duplicates, whether few or many."""
    flat = [part for part in parts for _ in range(2 * times)]
    fields = letter_fields(Entry(KEY, flat_fields=flat, id="5-0", deliveries=3))
    letter = parsed(fields)
    assert letter.entry.flat_fields == flat
    assert (letter.entry.id, letter.entry.deliveries, letter.entry.payload) == ("5-0", 3, None)
    assert len(fields) <= 2_100


@pytest.mark.parametrize("payload", [b"", NOT_UTF8, b"field:x"])
def test_a_payload_is_kept_byte_for_byte(payload: bytes) -> None:
    """A list element of any bytes comes back."""
    assert parsed(letter_fields(Entry(KEY, payload=payload))).entry.payload == payload


def test_field_names_cannot_forge_the_description() -> None:
    """An entry whose fields are named like those of a dead letter does not change what the letter reports."""
    flat = [b"function", b"other", b"error", b"none", b"payload", b"p", b"fields", b"[]", b"field:id", b"i"]
    letter = parsed(letter_fields(Entry(KEY, flat_fields=flat), "f", error="E"))
    assert (letter.function, letter.error, letter.entry.flat_fields) == ("f", "E", flat)


def test_the_start_and_the_end_of_a_traceback_are_kept() -> None:
    """A long traceback is shortened in its middle, to about 8 KiB, whatever its characters."""
    traceback = "Traceback\n" + "é" * 1_000_000 + "\nValueError: no good"
    kept = parsed(letter_fields(Entry(KEY, payload=b""), traceback=traceback)).traceback
    assert kept.startswith("Traceback\né")
    assert kept.endswith("é\nValueError: no good")
    assert "bytes omitted" in kept
    assert len(kept.encode()) < 8_300


def test_text_that_is_no_text_is_kept() -> None:
    """An exception's text may contain lone surrogates, which UTF-8 cannot encode."""
    assert parsed(letter_fields(Entry(KEY, payload=b""), error="E: \ud800")).error == "E: \\ud800"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"time_ms", b"soon"),
        (b"time_ms", b"9" * 20),
        (b"deliveries", b"9" * 5_000),
        (b"fields", b"{}"),
        (b"fields", b'["odd"]'),
        (b"fields", b"[1, 2]"),
        (b"fields", b"[" * 100_000),
    ],
)
def test_a_damaged_letter_is_unreadable(name: bytes, value: bytes) -> None:
    """A letter that cannot be parsed is reported with its ID and function."""
    fields = [*letter_fields(Entry(KEY, flat_fields=[]), "f"), name, value]
    assert parse_letter(KEY, b"1-1", fields) == UnreadableLetter("1-1", KEY, "f")


def test_a_foreign_entry_is_unreadable() -> None:
    """An entry that is no dead letter is reported with its ID."""
    assert parse_letter(KEY, b"1-1", [b"a", b"b"]) == UnreadableLetter("1-1", KEY, None)
