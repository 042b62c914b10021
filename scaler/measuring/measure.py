"""Measures backlogs: every trigger of one Redis in one round trip, and counting where Redis's numbers do not do."""

from collections.abc import Iterable
from typing import Any

from listeners.errors import SourceError
from listeners.functions.triggers import ListTrigger, StreamTrigger, keys_read
from listeners.keys import inflight_key
from listeners.redis.client import Client
from listeners.redis.error_translation import translate
from listeners.redis.server_info import ServerInfo
from listeners.text import decode
from scaler.measuring.backlog import Backlog, KeyBacklog
from scaler.measuring.counting import CountMemory, StreamCount, count_all, first_error
from scaler.measuring.lag import GroupState, StreamState, known_lag
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["commands_per_sample", "measure"]


async def measure(
    client: Client, server: ServerInfo, triggers: Iterable[MeasuredTrigger], memory: CountMemory
) -> dict[MeasuredTrigger, Backlog | SourceError]:
    """Measure all triggers of one Redis in one pipelined round trip; more only where entries must be counted.

    A measured that cannot be measured has its error as its result: it says nothing about the others. Raises
    SourceError if Redis could not be asked at all.
    """
    wanted = [(measured, key) for measured in dict.fromkeys(triggers) for key in _keys(measured.trigger, server)]
    asked = [(key, _commands(measured.trigger, key)) for measured, key in wanted]
    replies = await client.transactions(asked, doing="measuring")
    found: dict[tuple[MeasuredTrigger, str], KeyBacklog | SourceError] = {}
    to_count: list[StreamCount] = []
    for (measured, key), reply in zip(wanted, replies, strict=True):
        try:
            result = _read(measured, key, reply, server)
        except SourceError as error:
            found[measured, key] = error
            continue
        if isinstance(result, StreamCount):
            result.lag = memory.recall(result)
            to_count.append(result)
        else:
            found[measured, key] = result
    await count_all(client, [count for count in to_count if count.lag is None], memory)
    found.update({(count.measured, count.key): count.result() for count in to_count})
    return {measured: _joined(measured, server, found) for measured in dict.fromkeys(triggers)}


def commands_per_sample(measured: MeasuredTrigger) -> int:
    """The commands that Redis runs for one sample, those that hold each key's together (MULTI, EXEC) included.

    Without those of counting, which few streams need, and those seldom.
    """
    return sum(2 + len(_commands(measured.trigger, key)) for key in measured.trigger.keys)


def _joined(
    measured: MeasuredTrigger, server: ServerInfo, found: dict[tuple[MeasuredTrigger, str], KeyBacklog | SourceError]
) -> Backlog | SourceError:
    results = [found[measured, key] for key in _keys(measured.trigger, server)]
    error = next((result for result in results if isinstance(result, SourceError)), None)
    return error or Backlog(tuple(result for result in results if isinstance(result, KeyBacklog)))


def _keys(trigger: ListTrigger | StreamTrigger, server: ServerInfo) -> tuple[str, ...]:
    return keys_read(trigger, multi_pop=server.supports(7)) if isinstance(trigger, ListTrigger) else trigger.keys


def _commands(trigger: ListTrigger | StreamTrigger, key: str) -> list[tuple[str, ...]]:
    """What is asked of one key, as one MULTI: between two single commands an entry could move unseen."""
    if isinstance(trigger, StreamTrigger):
        return [("XINFO", "GROUPS", key), ("XINFO", "STREAM", key)]
    return [("LLEN", key), ("ZCARD", inflight_key(key))]


def _read(measured: MeasuredTrigger, key: str, reply: list[Any], server: ServerInfo) -> KeyBacklog | StreamCount:
    """Read one key's reply. Raises SourceError for what Redis refused: a wrong type, a denied command."""
    refused = first_error(reply)
    if isinstance(measured.trigger, ListTrigger):
        if refused is not None:
            raise translate(refused, f"measuring list {key!r}")
        return KeyBacklog(key, length=reply[0], in_flight=reply[1])
    if refused is not None:
        if "no such key" in str(refused):
            return KeyBacklog(key, 0, lag=known_lag(None, None, server))
        raise translate(refused, f"measuring stream {key!r}")
    groups = {decode(group[b"name"]): GroupState.of(group) for group in map(_pairs, reply[0])}
    stream = StreamState.of(_pairs(reply[1]))
    group = groups.get(measured.trigger.consumer_group)
    lag = known_lag(stream, group, server)
    if lag is not None or group is None:
        return KeyBacklog(key, stream.length, pending=group.pending if group else 0, lag=lag)
    limit = measured.count_limit if group.lag is None else min(measured.count_limit, group.lag)
    return StreamCount(measured, key, measured.trigger.consumer_group, stream, group, limit)


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
