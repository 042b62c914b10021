"""The lag of a consumer group: what Redis reports, and when that can be trusted. No I/O.

Redis 7.0 to 7.4 report wrong numbers, always too high, after XTRIM, XDEL or XGROUP SETID. Older servers report none.
"""

from dataclasses import dataclass

from listeners.redis.entry_id import EntryId
from listeners.redis.server_info import ServerInfo

__all__ = ["GroupState", "Lag", "known_lag", "trusts_lag"]


@dataclass(frozen=True)
class Lag:
    """The number of entries not yet delivered to the group.

    `how` it was obtained: "derived" from the length and the ends of the stream, "reported" by Redis, or "counted".
    `capped`: counting was cut short, and `entries` is a lower bound.
    """

    entries: int
    how: str
    capped: bool = False


@dataclass(frozen=True)
class GroupState:
    """What XINFO GROUPS reports about one group. `lag` and `entries_read` are None before Redis 7.0, and where Redis
    cannot determine them.
    """

    pending: int
    last_delivered: EntryId
    lag: int | None = None
    entries_read: int | None = None


def trusts_lag(server: ServerInfo) -> bool:
    """Return whether the server's lag stays right after entries are deleted: from Redis 8.2 and Valkey 8.1."""
    return server.version >= ((8, 1) if server.name == "Valkey" else (8, 2))


def known_lag(length: int, group: GroupState | None, server: ServerInfo) -> Lag | None:
    """Return the lag if it is known without reading any entry, else None. The first rule that applies decides."""
    if length == 0:
        return Lag(0, "derived")
    if group is None:  # it will be created at 0
        return Lag(length, "derived")
    if group.lag is not None and (trusts_lag(server) or _nothing_was_deleted(length, group)):
        return Lag(min(max(group.lag, 0), length), "reported")
    return None


def _nothing_was_deleted(length: int, group: GroupState) -> bool:
    """Return whether the stream has all entries that were ever added: those that were read, and the lag."""
    return group.lag is not None and group.entries_read is not None and group.lag + group.entries_read == length
