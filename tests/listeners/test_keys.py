"""Companion keys: in the key's slot, and never shared."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from redis.crc import key_slot

from listeners.keys import companion_key

PURPOSES = ("inflight", "dead", "x")
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
    """The cluster slot of a key."""
    return key_slot(key.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("key", AWKWARD)
def test_awkward_keys(key: str) -> None:
    """The companion of a key with braces anywhere is in the key's slot, and is another key."""
    companion = companion_key(key, "inflight")
    assert slot(companion) == slot(key)
    assert companion != key


@given(keys)
def test_any_key(key: str) -> None:
    """The companion of any key is in the key's slot, for every purpose another one."""
    companions = [companion_key(key, purpose) for purpose in PURPOSES]
    assert {slot(companion) for companion in companions} == {slot(key)}
    assert len({key, *companions}) == len(PURPOSES) + 1


@given(keys, keys)
def test_any_two_keys(one: str, other: str) -> None:
    """Two keys never share a companion."""
    assume(one != other)
    assert {companion_key(one, p) for p in PURPOSES}.isdisjoint({companion_key(other, p) for p in PURPOSES})


def test_awkward_keys_share_none() -> None:
    """No two of the awkward keys share a companion."""
    companions = {companion_key(key, purpose) for key in AWKWARD for purpose in PURPOSES}
    assert len(companions) == len(AWKWARD) * len(PURPOSES)


@pytest.mark.parametrize(
    ("key", "companion"),
    [("orders", "triggerfish:{orders}:inflight"), ("a{b}c", "triggerfish:{b}:a{b}c:inflight")],
)
def test_names_are_frozen(key: str, companion: str) -> None:
    """The names do not change between releases: what is in flight under them would be lost."""
    assert companion_key(key, "inflight") == companion
