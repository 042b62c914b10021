"""Every key, channel and consumer name that Triggerfish keeps in Redis.

The names never change between releases: entries recorded under the old ones would be lost.

| name | type | content |
|---|---|---|
| `triggerfish:{KEY}:inflight` | sorted set | a list's elements in flight, by the time at which each becomes available |
| `triggerfish:{KEY}:elements` | hash | their payloads and delivery counts |
| `triggerfish:{KEY}:dead` | stream | the dead letters of a list or stream |
| `triggerfish:{APP:FUNCTION}:lease` | string | the instance that holds the lease of a pub/sub function |
| `triggerfish:{APP:FUNCTION}:lease:epoch` | string | how often that lease has changed hands |
| `triggerfish:{APP:FUNCTION}:lease:draining` | string | the holder, while it drains |
| `triggerfish:{APP:FUNCTION}:lease:notices` | channel | what the instances of an app tell each other about the lease |
"""

from binascii import crc_hqx
from functools import lru_cache

__all__ = [
    "SLOTS",
    "consumer_name",
    "dead_letters_key",
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
    "prefix_beside",
]

PREFIX = "triggerfish"
CONSUMER_PREFIX = "triggerfish-"
#: Hash slots of a Redis Cluster.
SLOTS = 16_384


def inflight_key(key: str) -> str:
    """The sorted set of a list's elements in flight; its ZCARD is their number."""
    return prefix_beside(key) + "inflight"


def elements_key(key: str) -> str:
    """The hash with the payloads and delivery counts of a list's elements in flight."""
    return prefix_beside(key) + "elements"


def dead_letters_key(key: str) -> str:
    """The stream that keeps the dead letters of a list or stream."""
    return prefix_beside(key) + "dead"


@lru_cache(maxsize=4096)
def prefix_beside(key: str) -> str:
    """The common prefix of all keys that are kept beside a user's key.

    It depends on the key alone, so that every function, app and scaler computes the same, and hashes to the key's slot
    (Redis Cluster specification, hash tags), so that one script may use both.
    """
    tag = _hash_tag(key)
    if tag is not None:
        return f"{PREFIX}:{{{tag}}}:{key}:"
    if "}" not in key:
        return f"{PREFIX}:{{{key}}}:"
    return f"{PREFIX}:{{{_tag_in_slot(key_slot(key))}}}:{key}:"


def lease_key(app_name: str, function_name: str) -> str:
    """The lease of an app's pub/sub function; every instance of the app computes the same."""
    return f"{PREFIX}:{{{app_name}:{function_name}}}:lease"


def lease_epoch_key(lease: str) -> str:
    """The counter of a lease's holders: its fencing token."""
    return f"{lease}:epoch"


def lease_draining_key(lease: str) -> str:
    """Names the holder of a lease while it drains."""
    return f"{lease}:draining"


def lease_notices_channel(lease: str) -> str:
    """The channel on which the instances of an app announce changes of a lease."""
    return f"{lease}:notices"


def is_lease_name(name: str) -> bool:
    """Whether a key or channel belongs to a lease."""
    if not name.startswith(f"{PREFIX}:{{"):
        return False
    lease = ":lease"
    derived = (lease_epoch_key(lease), lease_draining_key(lease), lease_notices_channel(lease))
    return name.endswith((lease, *derived))


def consumer_name(instance: str) -> str:
    """The name of an instance's consumer in a consumer group."""
    return CONSUMER_PREFIX + instance


def is_consumer_name(name: str) -> bool:
    """Whether a consumer of a group is an instance of Triggerfish."""
    return name.startswith(CONSUMER_PREFIX)


def keyspace_channel(database: int, key: str) -> str:
    """The channel on which Redis publishes changes of a key (Redis: keyspace notifications)."""
    return f"__keyspace@{database}__:{key}"


def is_keyspace_channel(channel: str) -> bool:
    """Whether a channel carries keyspace or keyevent notifications."""
    return channel.startswith(("__keyspace@", "__keyevent@"))


def key_slot(key: str) -> int:
    """The cluster slot of a key (Redis Cluster specification, key distribution model)."""
    return crc_hqx((_hash_tag(key) or key).encode("utf-8", "surrogateescape"), 0) % SLOTS


def _hash_tag(key: str) -> str | None:
    """The part that Redis hashes instead of the whole key: the text in the first {...}, unless it is empty."""
    _, brace, rest = key.partition("{")
    tag, closing, _ = rest.partition("}")
    return tag if brace and closing and tag else None


def _tag_in_slot(slot: int) -> str:
    """A short tag in a slot, for a key with a } that cannot be a tag itself."""
    return next(tag for tag in map(str, range(1_000_000)) if key_slot(tag) == slot)
