"""Reads the names of a library's queues, as many as a few commands find."""

from typing import Any

from listeners.errors import SourceError
from listeners.redis.client import Client
from listeners.text import decode
from scaler.queues.names import NameSource, name_source
from scaler.queues.trigger import QueueTrigger

__all__ = ["queue_names"]

#: How many names are read of a set, and how many keys are looked at.
MAX_NAMES = 1_000
SCANNED_KEYS, SCANS = 1_000, 20
MAX_BINDINGS = 100
#: What the names of exchanges end in that Celery uses for itself.
OWN_EXCHANGES = (".celeryev", ".pidbox")


async def queue_names(client: Client, trigger: QueueTrigger) -> set[str] | None:
    """Return the names of queues of a library; None if they cannot be read, or have no place."""
    source = name_source(trigger)
    if source is None:
        return None
    try:
        if source.members is not None:
            members = await client.command(
                source.members, "SRANDMEMBER", source.members, MAX_NAMES, doing="reading the names of queues"
            )
            return _names(source, members)
        keys, complete = await _keys(client, source)
        names = await _bound(client, keys, source.separator) if source.separator else _names(source, keys)
    except SourceError:
        return None
    return names if names or complete else None


async def _keys(client: Client, source: NameSource) -> tuple[list[bytes], bool]:
    """Return keys that match, of the first ones that Redis has, and whether these were all. In a cluster, those of each
    node, which has cursors of its own.
    """
    found: list[bytes] = []
    cursor: object = 0
    for _ in range(SCANS):
        scan = ("SCAN", cursor, "MATCH", source.pattern, "COUNT", SCANNED_KEYS)
        cursors: set[bytes] = set()
        for reply in await client.on_every_primary(*scan, doing="reading the names of queues"):
            match reply:
                case [bytes(next_cursor), [*keys]]:
                    cursors.add(next_cursor)
                    found += keys
        if cursors == {b"0"}:
            return found, True
        if client.is_cluster or not cursors:
            break
        cursor = cursors.pop()
    return found, False


async def _bound(client: Client, keys: list[bytes], separator: str) -> set[str]:
    """Return the queues of kombu's bindings."""
    names = [name for key in keys if not (name := decode(key)).endswith(OWN_EXCHANGES)][:MAX_BINDINGS]
    groups = [(name, [("SRANDMEMBER", name, MAX_BINDINGS)]) for name in names]
    replies = await client.transactions(groups, doing="reading bindings") if groups else []
    members = [member for [reply] in replies if isinstance(reply, list) for member in reply]
    return {decode(member).rpartition(separator)[2] for member in members if isinstance(member, bytes)}


def _names(source: NameSource, found: Any) -> set[str]:
    texts = [decode(each) for each in found if isinstance(each, bytes)] if isinstance(found, list) else []
    return {name for text in texts if (name := source.name_in(text)) is not None}
