"""The Redis commands that measure one list or stream, and how to read their replies. No I/O."""

from typing import Any

from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import inflight_key
from listeners.redis.error_translation import translate
from listeners.redis.server_info import ServerInfo
from listeners.text import decode
from scaler.measuring.backlog import KeyBacklog
from scaler.measuring.counting import StreamCount, first_error
from scaler.measuring.lag import GroupState, StreamState, known_lag
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["commands_per_sample", "measuring_commands", "read_reply"]


def measuring_commands(trigger: ListTrigger | StreamTrigger, key: str) -> list[tuple[str, ...]]:
    """Return the commands for one key. They run as one MULTI, or an entry could move between two of them unseen."""
    if isinstance(trigger, StreamTrigger):
        return [("XINFO", "GROUPS", key), ("XINFO", "STREAM", key)]
    return [("LLEN", key), ("ZCARD", inflight_key(key))]


def read_reply(measured: MeasuredTrigger, key: str, reply: list[Any], server: ServerInfo) -> KeyBacklog | StreamCount:
    """Read the reply for one key. Return a StreamCount if the entries of a stream have to be counted.

    Raises SourceError for an error reply, such as a wrong type or a denied command.
    """
    error = first_error(reply)
    if isinstance(measured.trigger, ListTrigger):
        if error is not None:
            raise translate(error, f"measuring list {key!r}")
        return KeyBacklog(key, length=reply[0], in_flight=reply[1])
    if error is not None:
        if "no such key" in str(error):
            return KeyBacklog(key, 0, lag=known_lag(None, None, server))
        raise translate(error, f"measuring stream {key!r}")
    groups = {decode(group[b"name"]): GroupState.of(group) for group in map(_pairs, reply[0])}
    stream = StreamState.of(_pairs(reply[1]))
    group = groups.get(measured.trigger.consumer_group)
    lag = known_lag(stream, group, server)
    if lag is not None or group is None:
        return KeyBacklog(key, stream.length, pending=group.pending if group else 0, lag=lag)
    limit = measured.count_limit if group.lag is None else min(measured.count_limit, group.lag)
    return StreamCount(measured, key, measured.trigger.consumer_group, stream, group, limit)


def commands_per_sample(measured: MeasuredTrigger) -> int:
    """Return how many commands Redis runs for one sample, including MULTI and EXEC.

    Counting is not included: few streams need it, and rarely.
    """
    return sum(2 + len(measuring_commands(measured.trigger, key)) for key in measured.trigger.keys)


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
