"""Keys derived from a user's key: in its slot, and never shared with another key."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from redis import crc

from listeners.keys import dead_letters_key, elements_key, inflight_key, is_keyspace_channel, key_slot

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
