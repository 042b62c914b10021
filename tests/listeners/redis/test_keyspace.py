"""The flags of notify-keyspace-events that a channel needs."""

import pytest

from listeners.redis.keyspace import missing_flags


@pytest.mark.parametrize(
    ("channel", "configured", "missing"),
    [
        ("__keyspace@0__:k", "", "KA"),
        ("__keyspace@0__:k", "K", "A"),
        ("__keyspace@0__:k", "A", "K"),
        ("__keyspace@0__:k", "AE", "K"),
        ("__keyspace@0__:k", "AK", ""),
        ("__keyspace@0__:k", "K$", ""),
        ("__keyspace@0__:k*", "Kx", ""),
        ("__keyspace@0__:k", "Kd", ""),
        ("__keyspace@0__:k", "KE", "A"),
        # A key may be named like an event.
        ("__keyspace@0__:expired", "K$", ""),
        ("__keyspace@0__:a__:expired", "K$", ""),
        ("__keyevent@0__:expired", "", "Ex"),
        ("__keyevent@0__:expired", "E", "x"),
        ("__keyevent@0__:expired", "x", "E"),
        ("__keyevent@0__:expired", "Kx", "E"),
        ("__keyevent@0__:expired", "E$", "x"),
        ("__keyevent@0__:expired", "Ex", ""),
        ("__keyevent@0__:expired", "AKE", ""),
        ("__keyevent@*__:expired", "E", "x"),
        ("__keyevent@15__:del", "", "Eg"),
        # Not included in A.
        ("__keyevent@0__:new", "AKE", "n"),
        ("__keyevent@0__:keymiss", "AKE", "m"),
        ("__keyevent@0__:overwritten", "AKE", "o"),
        ("__keyevent@0__:type_changed", "AKE", "c"),
        ("__keyevent@0__:keymiss", "Em", ""),
        # Any event.
        ("__keyevent@0__:*", "", "EA"),
        ("__keyevent@0__:*", "E", "A"),
        ("__keyevent@0__:*", "Eg", ""),
        ("__keyevent@0__:ex*", "Ex", ""),
        ("__keyevent@0__:not-known-yet", "Eg", ""),
        ("__keyevent@0__:json.set", "Ed", ""),
    ],
)
def test_missing_flags(channel: str, configured: str, missing: str) -> None:
    """A channel needs the flag of its kind and that of its event, or any event's flag if the event is unknown."""
    assert missing_flags(channel, configured) == missing


@pytest.mark.parametrize(
    ("event", "flag"),
    [
        ("del", "g"),
        ("expire", "g"),
        ("rename_to", "g"),
        ("set", "$"),
        ("incrby", "$"),
        ("setbit", "$"),
        ("pfadd", "$"),
        ("lpush", "l"),
        ("sortstore", "l"),
        ("sadd", "s"),
        ("hset", "h"),
        ("hexpired", "h"),
        ("zadd", "z"),
        ("zpopmin", "z"),
        ("zremrangebylex", "z"),
        ("geosearchstore", "z"),
        ("xadd", "t"),
        ("xgroup-create", "t"),
        ("expired", "x"),
        ("evicted", "e"),
        ("new", "n"),
        ("keymiss", "m"),
        ("overwritten", "o"),
        ("type_changed", "c"),
    ],
)
def test_flags_of_events(event: str, flag: str) -> None:
    """A keyevent channel needs the flag that enables its event in the server."""
    everything_else = "Eg$lshztxednmoc".replace(flag, "")
    assert missing_flags(f"__keyevent@0__:{event}", everything_else) == flag
    assert missing_flags(f"__keyevent@0__:{event}", f"E{flag}") == ""
