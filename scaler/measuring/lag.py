"""The lag of a consumer group: what Redis reports, and when that can be trusted. No I/O.

Redis 7.0 to 7.4 report wrong numbers, always too high, after XTRIM, XDEL or XGROUP SETID. Older servers report none.
"""

from dataclasses import dataclass
from typing import Any

from listeners.redis.entry_id import EntryId
from listeners.redis.server_info import ServerInfo

__all__ = ["GroupState", "Lag", "StreamState", "known_lag", "trusts_lag"]


@dataclass(frozen=True)
class Lag:
    """The number of entries not yet delivered to the group.

    `how` it was obtained: "derived" from the ends of the stream, "reported" by Redis, or "counted". `capped`: counting
    was cut short, and `entries` is a lower bound.
    """

    entries: int
    how: str
    capped: bool = False


@dataclass(frozen=True)
class StreamState:
    """What XINFO STREAM reports. `entries_added` is None before Redis 7.0."""

    length: int
    first: EntryId | None
    last: EntryId | None
    entries_added: int | None

    @classmethod
    def of(cls, reply: dict[bytes, Any]) -> "StreamState":
        """Read the reply of XINFO STREAM."""
        first, last = reply.get(b"first-entry"), reply.get(b"last-entry")
        return cls(
            length=reply[b"length"],
            first=EntryId.parse(first[0]) if first else None,
            last=EntryId.parse(last[0]) if last else None,
            entries_added=reply.get(b"entries-added"),
        )


@dataclass(frozen=True)
class GroupState:
    """What XINFO GROUPS reports about one group. `lag` is None before Redis 7.0, and when Redis cannot determine it."""

    pending: int
    last_delivered: EntryId
    lag: int | None

    @classmethod
    def of(cls, reply: dict[bytes, Any]) -> "GroupState":
        """Read one group from the reply of XINFO GROUPS."""
        return cls(reply[b"pending"], EntryId.parse(reply[b"last-delivered-id"]), reply.get(b"lag"))


def trusts_lag(server: ServerInfo) -> bool:
    """Return whether the server's lag stays right after entries are deleted: from Redis 8.2 and Valkey 8.1."""
    return server.version >= ((8, 1) if server.name == "Valkey" else (8, 2))


def known_lag(stream: StreamState | None, group: GroupState | None, server: ServerInfo) -> Lag | None:
    """Return the lag if it is known without counting, else None. The first rule that applies decides."""
    if stream is None:
        return Lag(0, "derived")
    if group is None:  # it will be created at 0
        return Lag(stream.length, "derived")
    if stream.first is None or stream.last is None or group.last_delivered >= stream.last:
        return Lag(0, "derived")
    if group.last_delivered < stream.first:
        return Lag(stream.length, "derived")
    trusted = trusts_lag(server) or stream.entries_added == stream.length
    if group.lag is not None and trusted:
        return Lag(min(max(group.lag, 1), stream.length - 1), "reported")
    return None
