"""Names of the keys, channels and consumers that Triggerfish uses in Redis.

The names never change between releases, as entries recorded under old names would be lost.

| name | type | content |
|---|---|---|
| `triggerfish:{KEY}:inflight` | sorted set | a list's elements in flight, scored by when each becomes available again |
| `triggerfish:{KEY}:elements` | hash | their records, `1:PAYLOAD`, by ID |
| `triggerfish:{KEY}:dead` | stream | the dead letters of a list or stream |
| `triggerfish:{KEY}:check-TOKEN` | list or stream | made by `triggerfish check`, with derived keys, and removed |
| `triggerfish:{KEY}:probe` | string | set to find out whether Redis reports changes; expires after 1 ms |
| `triggerfish:{APP:FUNCTION}:lease` | string | the instance that holds the lease of a pub/sub function |
| `triggerfish:{APP:FUNCTION}:lease:epoch` | string | how many times the lease has been acquired: its fencing token |
| `triggerfish:{APP:FUNCTION}:lease:length` | string | for how long the holder acquires or renews the lease, in ms |
| `triggerfish:{APP:FUNCTION}:lease:draining` | string | the holder, while it drains |
| `triggerfish:{APP:FUNCTION}:lease:notices` | channel | notices about the lease between the instances of an app |

A member of `inflight` is `ID:STATE CALLS:MS` without the space, such as `3f9c0a52d1e7-42:t0:30000`.
`lists/scripts/common.lua` explains its parts.

An instance has three consumers in the group of a stream. The one that holds a pending entry tells the entry's state:

| consumer | state of its entries |
|---|---|
| `triggerfish-INSTANCE` | taken |
| `triggerfish-INSTANCE:waiting` | the outcome of the last delivery is known: waiting for a retry, or released |
| `triggerfish-INSTANCE:alone` | a suspect whose call has begun; the delivery count includes this call |
"""

from binascii import crc_hqx
from typing import NamedTuple

from listeners.text import decode

__all__ = [
    "SLOTS",
    "ConsumerNames",
    "check_key",
    "consumer_names",
    "dead_letters_key",
    "derived_key_prefix",
    "elements_key",
    "inflight_key",
    "is_alone_consumer",
    "is_consumer_name",
    "is_keyspace_channel",
    "is_own_message",
    "is_own_name",
    "is_waiting_consumer",
    "key_slot",
    "lease_draining_key",
    "lease_epoch_key",
    "lease_key",
    "lease_length_key",
    "lease_notices_channel",
    "probe_key",
]

PREFIX = "triggerfish"
OWN_NAME_START = f"{PREFIX}:{{"
CONSUMER_PREFIX = "triggerfish-"
WAITING_SUFFIX = ":waiting"
ALONE_SUFFIX = ":alone"
#: Number of hash slots in a Redis Cluster.
SLOTS = 16_384


def inflight_key(key: str) -> str:
    """The key of the sorted set of a list's elements in flight; its ZCARD is their number."""
    return derived_key_prefix(key) + "inflight"


def elements_key(key: str) -> str:
    """The key of the hash with the records of a list's elements in flight."""
    return derived_key_prefix(key) + "elements"


def dead_letters_key(key: str) -> str:
    """The key of the stream with the dead letters of a list or stream."""
    return derived_key_prefix(key) + "dead"


def probe_key(key: str) -> str:
    """The key that is set to find out whether the server of a key reports changes."""
    return derived_key_prefix(key) + "probe"


def derived_key_prefix(key: str) -> str:
    """The common prefix of all keys derived from a user's key.

    It depends only on that key, so every function, app and scaler computes the same prefix. It hashes to the slot of
    that key (Redis Cluster specification, hash tags), so one script may use both.
    """
    tag = _hash_tag(key)
    if tag is not None and is_own_name(key):  # it is in the same slot already, and has the same prefix
        return f"{key}:"
    if tag is not None:
        return f"{PREFIX}:{{{tag}}}:{key}:"
    if "}" not in key:
        return f"{PREFIX}:{{{key}}}:"
    return f"{PREFIX}:{{{_tag_in_slot(key_slot(key))}}}:{key}:"


def check_key(key: str, token: str = "") -> str:
    """The key that `triggerfish check` uses in place of a user's key or a lease: it has the prefix of the keys derived
    from that key, and so their slot and the rights to them. Without a `token`, no such key ever exists.
    """
    return f"{derived_key_prefix(key)}check-{token}"


def lease_key(app_name: str, function_name: str) -> str:
    """The key of the lease of an app's pub/sub function, the same in every instance of the app."""
    return f"{PREFIX}:{{{app_name}:{function_name}}}:lease"


def lease_epoch_key(lease: str) -> str:
    """The key of the counter that increases with each new holder of a lease: its fencing token."""
    return f"{lease}:epoch"


def lease_length_key(lease: str) -> str:
    """The key with the length of a lease, in milliseconds: its holder's setting."""
    return f"{lease}:length"


def lease_draining_key(lease: str) -> str:
    """The key that names the holder of a lease while it drains."""
    return f"{lease}:draining"


def lease_notices_channel(lease: str) -> str:
    """The channel on which the instances of an app announce changes to a lease."""
    return f"{lease}:notices"


class ConsumerNames(NamedTuple):
    """The names of an instance's consumers in a consumer group, by the state of the entries that they hold."""

    taken: str
    alone: str
    waiting: str


def consumer_names(instance: str) -> ConsumerNames:
    """The names of an instance's consumers in a consumer group."""
    name = CONSUMER_PREFIX + instance
    return ConsumerNames(name, name + ALONE_SUFFIX, name + WAITING_SUFFIX)


def is_consumer_name(name: str) -> bool:
    """Return whether a consumer of a group belongs to an instance of Triggerfish."""
    return name.startswith(CONSUMER_PREFIX)


def is_alone_consumer(name: str) -> bool:
    """Return whether a consumer holds suspects whose calls have begun."""
    return is_consumer_name(name) and name.endswith(ALONE_SUFFIX)


def is_waiting_consumer(name: str) -> bool:
    """Return whether a consumer holds entries whose last outcome is known."""
    return is_consumer_name(name) and name.endswith(WAITING_SUFFIX)


def is_keyspace_channel(channel: str) -> bool:
    """Return whether a channel carries keyspace or keyevent notifications."""
    return channel.startswith(("__keyspace@", "__keyevent@"))


def is_own_name(name: str) -> bool:
    """Return whether a key or channel is one of Triggerfish's, which all begin in the same way."""
    return name.startswith(OWN_NAME_START)


def is_own_message(channel: str, payload: bytes) -> bool:
    """Return whether a message is a lease notice or a notification about one of Triggerfish's keys.

    Functions never receive such messages. The payload of a keyevent notification is the key.
    """
    if channel.startswith("__keyevent@"):
        return is_own_name(decode(payload))
    if channel.startswith("__keyspace@"):
        return is_own_name(channel.partition("__:")[2])
    return is_own_name(channel)


def key_slot(key: str) -> int:
    """The hash slot of a key (Redis Cluster specification, key distribution model)."""
    return crc_hqx((_hash_tag(key) or key).encode("utf-8", "surrogateescape"), 0) % SLOTS


def _hash_tag(key: str) -> str | None:
    """Return what Redis hashes instead of the whole key: the text in the first {...}, unless it is empty."""
    _, brace, rest = key.partition("{")
    tag, closing, _ = rest.partition("}")
    return tag if brace and closing and tag else None


def _tag_in_slot(slot: int) -> str:
    """Return a tag of six octal digits in a slot, for a key that contains a } and so cannot be a tag itself.

    A CRC is linear: if the slots of two numbers differ from that of 0 in some bits, the slot of their XOR differs from
    it in the XOR of these bits. So numbers that change one bit each make every slot, without a search.
    """
    changed = slot ^ _SLOT_OF_ZERO
    number = 0
    for bit, change in enumerate(_CHANGES):
        if changed >> bit & 1:
            number ^= change
    return f"{number:06o}"


def _numbers_that_change_one_bit() -> tuple[int, ...]:
    """Return for each bit of a slot a number of six octal digits whose slot differs from that of 0 in that bit only."""
    last_digits = {key_slot(f"{number:06o}"): number for number in range(8**3)}
    first_digits = {key_slot(f"{number:06o}"): number for number in range(0, 8**6, 8**3)}
    return tuple(
        next(number ^ last_digits[rest] for slot, number in first_digits.items() if (rest := slot ^ bit) in last_digits)
        for bit in (1 << shift for shift in range(SLOTS.bit_length() - 1))
    )


_SLOT_OF_ZERO = key_slot("000000")
_CHANGES = _numbers_that_change_one_bit()
