"""Names of the keys that Triggerfish keeps beside a user's key, in the same cluster slot."""

from functools import lru_cache

from redis.crc import key_slot

__all__ = ["companion_key", "dead_letters_key", "inflight_key", "lease_key", "lease_notices_channel"]

PREFIX = "triggerfish"


@lru_cache(maxsize=4096)
def companion_key(key: str, purpose: str) -> str:
    """The companion of a key for a purpose such as "inflight".

    It depends on the key alone, so that every function, app and scaler finds the same one, and hashes to the key's
    slot (Redis Cluster specification, hash tags), so that one script may touch both.
    """
    tag = _hash_tag(key)
    if tag is not None:
        return f"{PREFIX}:{{{tag}}}:{key}:{purpose}"
    if "}" not in key:
        return f"{PREFIX}:{{{key}}}:{purpose}"
    return f"{PREFIX}:{{{_tag_in_slot_of(key)}}}:{key}:{purpose}"


def _hash_tag(key: str) -> str | None:
    """What Redis hashes instead of the whole key: the text in the first {...}, if it is not empty."""
    _, brace, rest = key.partition("{")
    tag, closing, _ = rest.partition("}")
    return tag if brace and closing and tag else None


def _tag_in_slot_of(key: str) -> str:
    """A short tag with the key's slot, for a key that has a } and so cannot be a tag itself."""
    slot = key_slot(key.encode("utf-8", "surrogateescape"))
    return next(tag for tag in map(str, range(1_000_000)) if key_slot(tag.encode()) == slot)


def dead_letters_key(key: str) -> str:
    """The stream that keeps the dead letters of a list or stream."""
    return companion_key(key, "dead")


def inflight_key(key: str) -> str:
    """The sorted set of a list's elements that are in flight: its ZCARD is their number."""
    return companion_key(key, "inflight")


def lease_key(app: str, function: str) -> str:
    """The key of the lease of an app's pub/sub function; every instance of the app computes the same."""
    return f"triggerfish:{{{app}:{function}}}:lease"


def lease_notices_channel(key: str) -> str:
    """The channel on which the instances of an app tell each other what becomes of a lease."""
    return f"{key}:notices"
