"""Measures the backlogs of all triggers of one Redis in one round trip."""

from collections.abc import Iterable, Sequence

from listeners.errors import SourceError
from listeners.functions.triggers import keys_read
from listeners.redis.client import Client
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import Backlog, KeyBacklog
from scaler.measuring.counting import CountCache, StreamCount, count_all
from scaler.measuring.queries import measuring_commands, read_reply
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["measure"]

KeyResults = dict[tuple[MeasuredTrigger, str], KeyBacklog | SourceError]


async def measure(
    client: Client, server: ServerInfo, triggers: Iterable[MeasuredTrigger], cache: CountCache
) -> dict[MeasuredTrigger, Backlog | SourceError]:
    """Measure triggers in one pipelined round trip, and in further ones only where entries must be counted.

    A trigger that cannot be measured has its error as its result, and does not affect the others. Raises SourceError if
    Redis could not be reached at all.
    """
    # Only the keys that a host reads on this server count.
    read = {measured: keys_read(measured.trigger, multi_pop=server.supports(7)) for measured in triggers}
    keys = [(measured, key) for measured, its_keys in read.items() for key in its_keys]
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
            result.lag = cache.recall(result)
            counts.append(result)
        else:
            results[measured, key] = result
    await count_all(client, [count for count in counts if count.lag is None], cache)
    results.update({(count.measured, count.key): count.result() for count in counts})
    return {measured: _combine([results[measured, key] for key in its_keys]) for measured, its_keys in read.items()}


def _combine(by_key: Sequence[KeyBacklog | SourceError]) -> Backlog | SourceError:
    """Return the backlog over all keys of a trigger, or the first error among them."""
    error = next((result for result in by_key if isinstance(result, SourceError)), None)
    return error or Backlog(tuple(result for result in by_key if isinstance(result, KeyBacklog)))
