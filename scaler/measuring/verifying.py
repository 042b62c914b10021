"""Measures triggers at rest again, many with few commands. Redis reports most changes of them, but not those of groups,
and a report may have been lost.
"""

from collections.abc import Mapping

from listeners.errors import SourceError
from listeners.functions.triggers import StreamTrigger
from listeners.keys import inflight_key
from listeners.redis.client import Client, CommandGroup
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import Backlog, KeyBacklog
from scaler.measuring.known_streams import KnownStreams
from scaler.measuring.lag import known_lag
from scaler.measuring.queries import Reply, StreamQuery, read_list, read_states, states_call, stream_query
from scaler.measuring.queues.reading import run_with_queues
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["unchanged"]

#: A key, and a group if it is a stream.
_Read = tuple[str, str]


async def unchanged(
    client: Client, server: ServerInfo, known: KnownStreams, backlogs: Mapping[MeasuredTrigger, Backlog]
) -> set[MeasuredTrigger]:
    """Return the triggers that still have these backlogs, as far as one round trip shows. The others have to be
    measured as usual.

    Lists are not read in transactions, which would be twice as many commands: an element that moves meanwhile only
    makes a difference. Raises SourceError if Redis could not be reached at all.
    """
    missing, lists = dict[str, None](), dict[str, None]()
    streams: dict[str, list[StreamQuery]] = {}
    for measured, backlog in backlogs.items():
        for key in () if isinstance(measured.trigger, QueueTrigger) else backlog.keys:
            query = stream_query(measured, key.key)
            if query is None:
                (lists if key.entries else missing)[key.key] = None
            elif known.is_fast(query):
                streams.setdefault(key.key, []).append(query)
    slots = client.group_by_slot(list(missing))
    queries = [[query for key in keys for query in streams[key]] for keys in client.group_by_slot(list(streams))]
    commands: list[CommandGroup] = [
        *((keys[0], [("EXISTS", *keys, *map(inflight_key, keys))]) for keys in slots),
        *((key, [command]) for key in lists for command in (("LLEN", key), ("ZCARD", inflight_key(key)))),
        *((some[0].key, [states_call(some, server)]) for some in queries),
    ]
    found, queues = await run_with_queues(client, server, commands, backlogs)
    replies = iter(found)
    now: dict[_Read, KeyBacklog] = {}
    for keys in slots:
        if next(replies).values == [0]:
            now.update(((key, ""), KeyBacklog(key, 0)) for key in keys)
    for name in lists:
        now.update(_list(name, Reply([*next(replies).values, *next(replies).values])))
    for some in queries:
        now.update(_streams(some, next(replies), server))
    return {
        measured
        for measured, backlog in backlogs.items()
        if (
            queues[measured] == list(backlog.keys)
            if measured in queues
            else all(now.get(_read_of(measured, key)) == key for key in backlog.keys)
        )
    }


def _read_of(measured: MeasuredTrigger, key: KeyBacklog) -> _Read:
    return key.key, measured.trigger.consumer_group if isinstance(measured.trigger, StreamTrigger) else ""


def _list(key: str, reply: Reply) -> dict[_Read, KeyBacklog]:
    try:
        return {(key, ""): read_list(key, reply)}
    except SourceError:
        return {}


def _streams(queries: list[StreamQuery], reply: Reply, server: ServerInfo) -> dict[_Read, KeyBacklog]:
    """Return the backlogs of streams, without those whose lag has to be counted."""
    try:
        states = read_states(reply)
    except SourceError:
        return {}
    found: dict[_Read, KeyBacklog] = {}
    for query, (length, group) in zip(queries, states, strict=True):
        if (lag := known_lag(length, group, server)) is not None:
            pending = group.pending if group is not None else 0
            found[query.key, query.group] = KeyBacklog(query.key, length, pending=pending, lag=lag)
    return found
