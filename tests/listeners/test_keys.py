"""Keys derived from a user's key: in its slot, and never shared with another key."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from redis import crc

from listeners.keys import (
    consumer_names,
    dead_letters_key,
    elements_key,
    inflight_key,
    is_alone_consumer,
    is_consumer_name,
    is_keyspace_channel,
    is_waiting_consumer,
    key_slot,
)

NAMES = (inflight_key, elements_key, dead_letters_key)
AWKWARD = [
    "a{b}c",
    "a}b",
    "a{}b",
    "}{x}",
    "x{{y}}",
    "{}q",
    "q",
    "a{b",
    "{",
    "}",
    "{}",
    "{}{x}",
    "{a}{b}",
    "é}ü",
    "\udcff}",
]
keys = st.text(st.sampled_from("{}ab:") | st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def slot(key: str) -> int:
    """Return the hash slot of a key, as redis-py computes it."""
    return crc.key_slot(key.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("key", AWKWARD)
def test_awkward_keys(key: str) -> None:
    """A key derived from one with braces in any position is in its slot and differs from it."""
    derived = inflight_key(key)
    assert slot(derived) == slot(key) == key_slot(key)
    assert derived != key


@given(keys)
def test_any_key(key: str) -> None:
    """The keys derived from any key are in its slot and differ from it and from each other."""
    derived = [name(key) for name in NAMES]
    assert {slot(derived_key) for derived_key in derived} == {slot(key)}
    assert len({key, *derived}) == len(NAMES) + 1


@given(keys, keys)
def test_any_two_keys(one: str, other: str) -> None:
    """Two keys never share a derived key."""
    assume(one != other)
    assert {name(one) for name in NAMES}.isdisjoint({name(other) for name in NAMES})


def test_awkward_keys_share_no_derived_key() -> None:
    """No two of the awkward keys share a derived key."""
    derived = {name(key) for key in AWKWARD for name in NAMES}
    assert len(derived) == len(AWKWARD) * len(NAMES)


@pytest.mark.parametrize(
    ("key", "derived"),
    [("orders", "triggerfish:{orders}:inflight"), ("a{b}c", "triggerfish:{b}:a{b}c:inflight")],
)
def test_names_are_frozen(key: str, derived: str) -> None:
    """The names do not change between releases, as elements in flight under old names would be lost."""
    assert inflight_key(key) == derived


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        ("__keyspace@0__:k", True),
        ("__keyevent@*__:expired", True),
        ("__redis__:invalidate", False),
        ("keyspace@0__:k", False),
    ],
)
def test_keyspace_channels(channel: str, expected: bool) -> None:
    """Channels of keyspace and keyevent notifications are distinguished from others."""
    assert is_keyspace_channel(channel) is expected


def test_consumer_names() -> None:
    """The names are frozen, and each tells the state of its entries; those of other programs tell none."""
    names = consumer_names("pod-1")
    assert names == ("triggerfish-pod-1", "triggerfish-pod-1:alone", "triggerfish-pod-1:waiting")
    assert list(map(is_consumer_name, names)) == [True, True, True]
    assert list(map(is_alone_consumer, names)) == [False, True, False]
    assert list(map(is_waiting_consumer, names)) == [False, False, True]
    for other in ("theirs", "theirs:alone", "theirs:waiting"):
        assert not any(is_kind(other) for is_kind in (is_consumer_name, is_alone_consumer, is_waiting_consumer))
