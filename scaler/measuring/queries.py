"""The commands that measure one list or stream, and how to send them and read their replies.

No reply contains an entry, so its size does not depend on what the key holds. Streams are read by scripts, because
XINFO STREAM and XRANGE would return entries with their payloads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import inflight_key
from listeners.redis.client import Client, CommandGroup
from listeners.redis.entry_id import EntryId
from listeners.redis.error_translation import translate
from listeners.redis.scripts import ScriptCall, load_script
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import KeyBacklog
from scaler.measuring.lag import GroupState
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = [
    "Page",
    "Reply",
    "StreamQuery",
    "StreamState",
    "commands_per_sample",
    "list_commands",
    "pages_call",
    "read_list",
    "read_pages",
    "read_state",
    "read_states",
    "run",
    "state_call",
    "states_call",
    "stream_query",
]

STATE = load_script("scaler.measuring.scripts", "shared", "state")
STATES = load_script("scaler.measuring.scripts", "shared", "states")
PAGES = load_script("scaler.measuring.scripts", "shared", "pages")
#: Commands that Redis runs for one sample of a key: MULTI, LLEN, ZCARD and EXEC; or a script, XLEN and XINFO GROUPS.
LIST_COMMANDS = 4
STREAM_COMMANDS = 3


@dataclass(frozen=True)
class StreamQuery:
    """A stream and a consumer group. `limit` is the number of undelivered entries at which counting stops."""

    key: str
    group: str
    limit: int


@dataclass(frozen=True)
class Page:
    """The number of entries between two IDs, up to the page's size, and the ID of the last one."""

    entries: int
    last: EntryId | None


@dataclass(frozen=True)
class StreamState:
    """A stream, its group if it exists, and the first pages if they were requested and needed."""

    length: int
    group: GroupState | None
    undelivered: Page
    delivered: Page


@dataclass(frozen=True)
class Reply:
    """The reply to the commands for one key. `elapsed` is how long the server took, if its scripts have no clock."""

    values: list[Any]
    elapsed: float | None = None

    @property
    def seconds(self) -> float:
        """How long a script took the server; 0 for an error."""
        if self.elapsed is not None:
            return max(self.elapsed, 0.0)
        match self.values:
            case [[int(microseconds), *_]]:
                return microseconds / 1e6
            case _:
                return 0.0

    def read(self, doing: str) -> list[Any]:
        """Return the values. Raises SourceError for an error reply, such as a wrong type or a denied command."""
        error = next((value for value in self.values if isinstance(value, Exception)), None)
        if error is None:
            return self.values
        raise translate(error, doing)


def stream_query(measured: MeasuredTrigger, key: str) -> StreamQuery | None:
    """Return what identifies the measurement of a key, or None for a list."""
    if not isinstance(measured.trigger, StreamTrigger):
        return None
    return StreamQuery(key, measured.trigger.consumer_group, measured.count_limit)


def list_commands(key: str) -> list[tuple[str, ...]]:
    """Return the commands for a list. They run as one MULTI, or an element could move between the two unseen."""
    return [("LLEN", key), ("ZCARD", inflight_key(key))]


def state_call(query: StreamQuery, page_size: int, server: ServerInfo) -> ScriptCall:
    """Return the script for a stream. With a `page_size` it also counts the first undelivered and delivered entries,
    unless it finds that there are none.
    """
    return ScriptCall(STATE, (query.key,), (query.group, page_size), read_only=server.supports(7))


def states_call(queries: Sequence[StreamQuery], server: ServerInfo) -> ScriptCall:
    """Return the script for several streams of one slot, without pages."""
    keys, groups = zip(*((query.key, query.group) for query in queries), strict=True)
    return ScriptCall(STATES, keys, groups, read_only=server.supports(7))


def pages_call(
    query: StreamQuery, undelivered: EntryId, delivered: tuple[EntryId, EntryId], page_size: int, server: ServerInfo
) -> ScriptCall:
    """Return the script that counts the next undelivered entries, and the next delivered ones between two IDs."""
    arguments = (str(undelivered), *map(str, delivered), page_size)
    return ScriptCall(PAGES, (query.key,), arguments, read_only=server.supports(7))


async def run(client: Client, server: ServerInfo, groups: Sequence[CommandGroup]) -> list[Reply]:
    """Run groups of commands in one round trip per node. Each is the commands for a list, or one script."""
    if server.supports(7, 4):
        return [Reply(values) for values in await client.transactions(groups, doing="measuring")]
    # Scripts have no clock before Redis 7.4, and the time of day stands still in them from 7.2 on.
    scripts = [isinstance(commands[0], ScriptCall) for _, commands in groups]
    sent: list[CommandGroup] = []
    for (key, commands), script in zip(groups, scripts, strict=True):
        sent += [(key, [("TIME",)]), (key, commands), (key, [("TIME",)])] if script else [(key, commands)]
    replies = iter(await client.transactions(sent, doing="measuring"))
    return [
        _timed(next(replies), next(replies), next(replies)) if script else Reply(next(replies)) for script in scripts
    ]


def read_list(key: str, reply: Reply) -> KeyBacklog:
    """Read the reply for a list. Raises SourceError."""
    length, in_flight = reply.read(f"measuring list {key!r}")
    return KeyBacklog(key, length, in_flight)


def read_state(query: StreamQuery, reply: Reply) -> StreamState:
    """Read the reply to state_call. Raises SourceError."""
    [(_, length, group, undelivered, delivered)] = reply.read(f"measuring stream {query.key!r}")
    return StreamState(length, _group(group), _page(undelivered), _page(delivered))


def read_states(reply: Reply) -> list[tuple[int, GroupState | None]]:
    """Read the reply to states_call: the length and the group of each stream. Raises SourceError."""
    [(_, *states)] = reply.read("measuring streams")
    return [(length, _group(group)) for length, group in states]


def read_pages(query: StreamQuery, reply: Reply) -> tuple[int, Page, Page]:
    """Read the reply to pages_call: the length of the stream, and the pages. Raises SourceError."""
    [(_, length, undelivered, delivered)] = reply.read(f"counting entries of stream {query.key!r}")
    return length, _page(undelivered), _page(delivered)


def commands_per_sample(measured: MeasuredTrigger) -> int:
    """Return how many commands Redis runs for one sample, including MULTI and EXEC, and those inside scripts.

    TIME before Redis 7.4 is not included, and neither is counting: few streams need it, and rarely.
    """
    if isinstance(measured.trigger, QueueTrigger):
        return measured.trigger.commands_per_reading
    each = LIST_COMMANDS if isinstance(measured.trigger, ListTrigger) else STREAM_COMMANDS
    return each * len(measured.trigger.keys)


def _group(raw: Sequence[Any] | None) -> GroupState | None:
    return GroupState(raw[0], EntryId.parse(raw[1]), raw[2], raw[3]) if raw is not None else None


def _page(raw: Sequence[Any] | None) -> Page:
    """Read a page. One that was not needed has no entries."""
    if raw is None or raw[1] is None:
        return Page(0, None)
    return Page(raw[0], EntryId.parse(raw[1]))


def _timed(before: list[Any], values: list[Any], after: list[Any]) -> Reply:
    """Return the reply to a script between two TIME commands, or an error of these: it must not be costly unseen."""
    for clock in (before, after):
        if isinstance(clock[0], Exception):
            return Reply(clock)
    began, ended = (int(seconds) + int(microseconds) / 1e6 for [[seconds, microseconds]] in (before, after))
    return Reply(values, ended - began)
