"""Keys beside a user's key: in its slot, and never shared."""

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
    """The cluster slot of a key, as redis-py computes it."""
    return crc.key_slot(key.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("key", AWKWARD)
def test_awkward_keys(key: str) -> None:
    """The key beside one with braces anywhere is in its slot, and is another key."""
    beside = inflight_key(key)
    assert slot(beside) == slot(key) == key_slot(key)
    assert beside != key


@given(keys)
def test_any_key(key: str) -> None:
    """The keys beside any key are in its slot, and differ from it and from each other."""
    beside = [name(key) for name in NAMES]
    assert {slot(one) for one in beside} == {slot(key)}
    assert len({key, *beside}) == len(NAMES) + 1


@given(keys, keys)
def test_any_two_keys(one: str, other: str) -> None:
    """Two keys never share a key beside them."""
    assume(one != other)
    assert {name(one) for name in NAMES}.isdisjoint({name(other) for name in NAMES})


def test_awkward_keys_share_none() -> None:
    """No two of the awkward keys share a key beside them."""
    beside = {name(key) for key in AWKWARD for name in NAMES}
    assert len(beside) == len(AWKWARD) * len(NAMES)


@pytest.mark.parametrize(
    ("key", "beside"),
    [("orders", "triggerfish:{orders}:inflight"), ("a{b}c", "triggerfish:{b}:a{b}c:inflight")],
)
def test_names_are_frozen(key: str, beside: str) -> None:
    """The names do not change between releases: what is in flight under them would be lost."""
    assert inflight_key(key) == beside


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
    """Channels of keyspace and keyevent notifications are told from others."""
    assert is_keyspace_channel(channel) is expected
