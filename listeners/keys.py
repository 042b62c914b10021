"""Names of the keys, channels and consumers that Triggerfish uses in Redis.

The names never change between releases, as entries recorded under old names would be lost.

| name | type | content |
|---|---|---|
| `triggerfish:{KEY}:inflight` | sorted set | a list's elements in flight, scored by when each becomes available again |
| `triggerfish:{KEY}:elements` | hash | their payloads and delivery counts |
| `triggerfish:{KEY}:dead` | stream | the dead letters of a list or stream |
| `triggerfish:{APP:FUNCTION}:lease` | string | the instance that holds the lease of a pub/sub function |
| `triggerfish:{APP:FUNCTION}:lease:epoch` | string | how many times the lease has been acquired: its fencing token |
| `triggerfish:{APP:FUNCTION}:lease:draining` | string | the holder, while it drains |
| `triggerfish:{APP:FUNCTION}:lease:notices` | channel | notices about the lease between the instances of an app |
"""

from binascii import crc_hqx
from functools import lru_cache

__all__ = [
    "SLOTS",
    "consumer_name",
    "dead_letters_key",
    "derived_key_prefix",
    "elements_key",
    "inflight_key",
    "is_consumer_name",
    "is_keyspace_channel",
    "is_lease_name",
    "key_slot",
    "keyspace_channel",
    "lease_draining_key",
    "lease_epoch_key",
    "lease_key",
    "lease_notices_channel",
]

PREFIX = "triggerfish"
CONSUMER_PREFIX = "triggerfish-"
#: Number of hash slots in a Redis Cluster.
SLOTS = 16_384


def inflight_key(key: str) -> str:
    """The key of the sorted set of a list's elements in flight; its ZCARD is their number."""
    return derived_key_prefix(key) + "inflight"


def elements_key(key: str) -> str:
    """The key of the hash with the payloads and delivery counts of a list's elements in flight."""
    return derived_key_prefix(key) + "elements"


def dead_letters_key(key: str) -> str:
    """The key of the stream with the dead letters of a list or stream."""
    return derived_key_prefix(key) + "dead"


@lru_cache(maxsize=4096)
def derived_key_prefix(key: str) -> str:
    """The common prefix of all keys derived from a user's key.

    It depends only on that key, so every function, app and scaler computes the same prefix. It hashes to the slot of
    that key (Redis Cluster specification, hash tags), so one script may use both.
    """
    tag = _hash_tag(key)
    if tag is not None:
        return f"{PREFIX}:{{{tag}}}:{key}:"
    if "}" not in key:
        return f"{PREFIX}:{{{key}}}:"
    return f"{PREFIX}:{{{_tag_in_slot(key_slot(key))}}}:{key}:"


def lease_key(app_name: str, function_name: str) -> str:
    """The key of the lease of an app's pub/sub function, the same in every instance of the app."""
    return f"{PREFIX}:{{{app_name}:{function_name}}}:lease"


def lease_epoch_key(lease: str) -> str:
    """The key of the counter that increases with each new holder of a lease: its fencing token."""
    return f"{lease}:epoch"


def lease_draining_key(lease: str) -> str:
    """The key that names the holder of a lease while it drains."""
    return f"{lease}:draining"


def lease_notices_channel(lease: str) -> str:
    """The channel on which the instances of an app announce changes to a lease."""
    return f"{lease}:notices"


def is_lease_name(name: str) -> bool:
    """Return whether a key or channel belongs to a lease."""
    if not name.startswith(f"{PREFIX}:{{"):
        return False
    lease = ":lease"
    derived = (lease_epoch_key(lease), lease_draining_key(lease), lease_notices_channel(lease))
    return name.endswith((lease, *derived))


def consumer_name(instance: str) -> str:
    """The name of an instance's consumer in a consumer group."""
    return CONSUMER_PREFIX + instance


def is_consumer_name(name: str) -> bool:
    """Return whether a consumer of a group is an instance of Triggerfish."""
    return name.startswith(CONSUMER_PREFIX)


def keyspace_channel(database: int, key: str) -> str:
    """The channel on which Redis publishes changes to a key (keyspace notifications)."""
    return f"__keyspace@{database}__:{key}"


def is_keyspace_channel(channel: str) -> bool:
    """Return whether a channel carries keyspace or keyevent notifications."""
    return channel.startswith(("__keyspace@", "__keyevent@"))


def key_slot(key: str) -> int:
    """The hash slot of a key (Redis Cluster specification, key distribution model)."""
    return crc_hqx((_hash_tag(key) or key).encode("utf-8", "surrogateescape"), 0) % SLOTS


def _hash_tag(key: str) -> str | None:
    """Return what Redis hashes instead of the whole key: the text in the first {...}, unless it is empty."""
    _, brace, rest = key.partition("{")
    tag, closing, _ = rest.partition("}")
    return tag if brace and closing and tag else None


def _tag_in_slot(slot: int) -> str:
    """Return a short tag that hashes to a slot, for a key that contains a } and so cannot be a tag itself."""
    return next(tag for tag in map(str, range(1_000_000)) if key_slot(tag) == slot)
