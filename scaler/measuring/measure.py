"""Measures the backlogs of all triggers of one Redis in one round trip."""

from collections.abc import Iterable

from listeners.errors import SourceError
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import Backlog, KeyBacklog
from scaler.measuring.counting import CountMemory, StreamCount, count_all
from scaler.measuring.queries import measured_keys, measuring_commands, read_reply
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["measure"]

KeyResults = dict[tuple[MeasuredTrigger, str], KeyBacklog | SourceError]


async def measure(
    client: Client, server: ServerInfo, triggers: Iterable[MeasuredTrigger], memory: CountMemory
) -> dict[MeasuredTrigger, Backlog | SourceError]:
    """Measure triggers in one pipelined round trip, and in further ones only where entries must be counted.

    A trigger that cannot be measured has its error as its result, and does not affect the others. Raises SourceError if
    Redis could not be reached at all.
    """
    distinct = list(dict.fromkeys(triggers))
    keys = [(measured, key) for measured in distinct for key in measured_keys(measured.trigger, server)]
    commands = [(key, measuring_commands(measured.trigger, key)) for measured, key in keys]
    replies = await client.transactions(commands, doing="measuring")
    results: KeyResults = {}
    counts: list[StreamCount] = []
    for (measured, key), reply in zip(keys, replies, strict=True):
        try:
            result = read_reply(measured, key, reply, server)
        except SourceError as error:
            results[measured, key] = error
            continue
        if isinstance(result, StreamCount):
            result.lag = memory.recall(result)
            counts.append(result)
        else:
            results[measured, key] = result
    await count_all(client, [count for count in counts if count.lag is None], memory)
    results.update({(count.measured, count.key): count.result() for count in counts})
    return {measured: _combine(measured, server, results) for measured in distinct}


def _combine(measured: MeasuredTrigger, server: ServerInfo, results: KeyResults) -> Backlog | SourceError:
    """Return the backlog over all keys of a trigger, or the first error among them."""
    by_key = [results[measured, key] for key in measured_keys(measured.trigger, server)]
    error = next((result for result in by_key if isinstance(result, SourceError)), None)
    return error or Backlog(tuple(result for result in by_key if isinstance(result, KeyBacklog)))
