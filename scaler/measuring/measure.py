"""Measures triggers of one Redis: the fast lane, in one round trip for all of them. See slow_lane for the rest."""

import asyncio
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from listeners.errors import SourceError
from listeners.functions.triggers import keys_read
from listeners.keys import inflight_key
from listeners.redis.client import Client, CommandGroup
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import Backlog, KeyBacklog, KeySample
from scaler.measuring.lag import known_lag
from scaler.measuring.queries import (
    Reply,
    StreamQuery,
    list_commands,
    read_list,
    read_state,
    state_call,
    stream_query,
)
from scaler.measuring.queues.extras import QueueExtras
from scaler.measuring.queues.reading import run_with_queues
from scaler.measuring.slow_lane import KeyResult, SlowLane
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """The measurement of one trigger, with the result for each key, or the request to the slow lane."""

    keys: list[KeyResult | asyncio.Future[KeyResult]]

    @property
    def unfinished(self) -> list[asyncio.Future[KeyResult]]:
        """The requests to the slow lane that are not done."""
        return [key for key in self.keys if isinstance(key, asyncio.Future) and not key.done()]

    @property
    def fast(self) -> bool:
        """Whether any key was measured in the fast lane."""
        return any(not isinstance(key, asyncio.Future) for key in self.keys)

    @property
    def fast_error(self) -> SourceError | None:
        """The first error in the fast lane, if any."""
        return next((key for key in self.keys if isinstance(key, SourceError)), None)

    def result(self) -> tuple[Backlog, float] | SourceError:
        """Return the backlog and when the oldest part was measured, or the first error, once all requests are done."""
        samples: list[KeySample] = []
        for key in self.keys:
            result = key.result() if isinstance(key, asyncio.Future) else key
            if isinstance(result, SourceError):
                return result
            samples.append(result)
        taken_at = min(sample.taken_at for sample in samples)
        return Backlog(tuple(sample.backlog for sample in samples)), taken_at


@dataclass(frozen=True)
class _Query:
    """One key of a trigger. `stream` is None for a list."""

    measured: MeasuredTrigger
    key: str
    stream: StreamQuery | None

    def commands(self, server: ServerInfo) -> CommandGroup:
        """Return the commands of the fast lane."""
        return self.key, list_commands(self.key) if self.stream is None else [state_call(self.stream, 0, server)]


async def measure(
    client: Client,
    server: ServerInfo,
    triggers: Iterable[MeasuredTrigger],
    slow_lane: SlowLane,
    extras: QueueExtras,
    *,
    idle_lists: Collection[MeasuredTrigger] = (),
) -> dict[MeasuredTrigger, Measurement]:
    """Measure triggers in one round trip. What may take longer is then requested from the slow lane.

    Of `idle_lists` no key is expected to exist, which one command finds out for all of them. A trigger that cannot be
    measured has its error as its result, and does not affect the others. Raises SourceError if Redis could not be
    reached at all.
    """
    measurements = {measured: Measurement([]) for measured in triggers}
    queries = [_Query(each, key, stream_query(each, key)) for each in measurements for key in _keys_read(each, server)]
    results = await _still_missing(client, [query for query in queries if query.measured in idle_lists])
    remaining = (query for query in queries if query not in results)
    fast = [query for query in remaining if query.stream is None or slow_lane.known.is_fast(query.stream)]
    began = time.monotonic()  # a late reply is as old as its request
    fast_groups = [query.commands(server) for query in fast]
    replies, jobs = await run_with_queues(client, server, fast_groups, measurements)
    for query, reply in zip(fast, replies, strict=True):
        results[query] = _read(query, reply, server, slow_lane, began)
    for measured, found in jobs.items():
        if isinstance(found, SourceError):
            measurements[measured].keys.append(found)
        else:
            measurements[measured].keys.extend(extras.complete(measured, found, began, server))
    for query in queries:
        result = results.get(query)
        keys = measurements[query.measured].keys
        if query.stream is not None and result is None:
            keys.append(slow_lane.measure(query.stream, server))
        elif result is not None:
            keys.append(result)
    return measurements


def _keys_read(measured: MeasuredTrigger, server: ServerInfo) -> Sequence[str]:
    """Return the keys to measure one by one. Of lists, only those count that a host reads on this server."""
    if isinstance(measured.trigger, QueueTrigger):
        return ()
    return keys_read(measured.trigger, multi_pop=server.supports(7))


async def _still_missing(client: Client, queries: Sequence[_Query]) -> dict[_Query, KeyResult | None]:
    """Return the samples of lists of which no key exists, with one command for all in a slot."""
    slots = client.group_by_slot([query.key for query in queries])
    commands: list[CommandGroup] = [
        (keys[0], [("EXISTS", *(name for key in keys for name in (key, inflight_key(key))))]) for keys in slots
    ]
    began = time.monotonic()
    replies = await client.transactions(commands, doing="measuring") if commands else []
    missing = {key for keys, reply in zip(slots, replies, strict=True) if reply == [0] for key in keys}
    return {query: KeySample(KeyBacklog(query.key, 0), began) for query in queries if query.key in missing}


def _read(query: _Query, reply: Reply, server: ServerInfo, slow_lane: SlowLane, began: float) -> KeyResult | None:
    """Read the reply for one key. Return None if more has to be known about a stream."""
    stream = query.stream
    try:
        if stream is None:
            return KeySample(read_list(query.key, reply), began)
        state = read_state(stream, reply)
    except SourceError as error:
        return error
    lag = known_lag(state.length, state.group, server)
    if lag is None:
        return None
    pending = state.group.pending if state.group is not None else 0
    sample = KeySample(KeyBacklog(query.key, state.length, pending=pending, lag=lag), began)
    slow_lane.known.record(stream, sample, reply.seconds, needs_pages=False)
    return sample
