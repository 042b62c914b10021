"""Refuses backlogs that no Redis has. What triggers share, such as /metrics and pages, can then show every backlog."""

from listeners.errors import CommandRefusedError, SourceError
from scaler.measuring.backlog import Backlog, KeyBacklog

__all__ = ["readable"]

MAX_ENTRIES = 2**63 - 1


def readable(result: tuple[Backlog, float] | SourceError) -> tuple[Backlog, float] | SourceError:
    """Return a result, or a SourceError instead of a backlog that is not made of whole numbers that a Redis can have:
    a server that a ScaledObject names may reply with anything.
    """
    if isinstance(result, SourceError):
        return result
    backlog, _ = result
    for key in backlog.keys:
        if not all(type(number) is int and 0 <= number <= MAX_ENTRIES for number in _numbers(key)):
            return CommandRefusedError(f"unreadable reply from Redis for key {key.key!r}: not a number of entries")
    if backlog.entries > MAX_ENTRIES:
        return CommandRefusedError(f"unreadable reply from Redis: more than {MAX_ENTRIES} entries")
    return result


def _numbers(key: KeyBacklog) -> tuple[object, ...]:
    lag = () if key.lag is None else (key.lag.entries,)
    jobs = () if key.jobs is None else (key.jobs.due, key.jobs.scheduled)
    return (key.length, key.in_flight, key.pending, *lag, *jobs)
