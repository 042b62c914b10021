"""The keyspace and keyevent notifications that a server must publish for a channel. No I/O."""

import re
from collections.abc import Sequence

__all__ = ["keyspace_problem", "merge_suggestions", "missing_flags"]

#: Flags of notify-keyspace-events and the events that each enables. An unlisted event needs any of them.
_EVENT_FLAGS = {
    "g": "del expire rename_from rename_to copy_to move_from move_to persist restore",
    "$": "set setrange setbit incrby incrbyfloat append pfadd",
    "l": "lpush rpush lpop rpop linsert lset lrem ltrim sortstore",
    "s": "sadd srem spop sinterstore sunionstore sdiffstore",
    "h": "hset hincrby hincrbyfloat hdel hexpire hexpired hpersist",
    "z": "zadd zincr zrem zremrangebyrank zremrangebyscore zremrangebylex zpopmin zpopmax zdiffstore zinterstore "
    "zunionstore zrangestore geosearchstore",
    "t": "xadd xtrim xdel xsetid xgroup-create xgroup-createconsumer xgroup-delconsumer xgroup-destroy xgroup-setid",
    "x": "expired",
    "e": "evicted",
    "n": "new",
    "m": "keymiss",
    "o": "overwritten",  # Redis 8.2
    "c": "type_changed",  # Redis 8.2
    "d": "",  # events of modules
}

#: The flags that A stands for.
_ALL = "g$lshztxed"


def missing_flags(channel: str, configured: str) -> str:
    """Return the flags that notify-keyspace-events lacks for a channel or pattern; empty if none is missing."""
    present = set(configured.replace("A", _ALL))
    kind = "K" if channel.startswith("__keyspace@") else "E"
    missing = "" if kind in present else kind
    event = channel.partition("__:")[2] if kind == "E" else ""
    needed = next((flag for flag, events in _EVENT_FLAGS.items() if event in events.split()), None)
    if needed is not None and needed not in present:
        missing += needed
    elif needed is None and not present & set(_EVENT_FLAGS):
        missing += "A"
    return missing


_SUGGESTION = "CONFIG SET notify-keyspace-events "
_SUGGESTED = re.compile(rf"{_SUGGESTION}(\S+)")


def merge_suggestions(texts: Sequence[str]) -> list[str]:
    """Return texts about one server in which all suggestions have the flags of each: they set the same value, so one
    would undo the other.
    """
    flags = "".join(dict.fromkeys("".join(match[1] for text in texts for match in _SUGGESTED.finditer(text))))
    return [_SUGGESTED.sub(f"{_SUGGESTION}{flags}", text) for text in texts]


def keyspace_problem(channel: str, configured: Sequence[str]) -> str:
    """Return the problem if one of the servers does not publish a channel's notifications, with its fix, or else "".

    `configured` is the value of notify-keyspace-events of each server.
    """
    lacking = next((flags for flags in configured if missing_flags(channel, flags)), None)
    if lacking is None:
        return ""
    return (
        "the server does not publish these notifications, so no message will arrive. Enable them: "
        f"{_SUGGESTION}{lacking}{missing_flags(channel, lacking)}"
    )
