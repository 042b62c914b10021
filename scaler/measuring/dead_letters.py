"""Counts the dead letters of measured triggers, now and then, and without influence on their backlogs."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from listeners.errors import SourceError
from listeners.keys import dead_letters_key
from listeners.redis.client import Client
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["DeadLetterCount", "DeadLetterCounter"]

#: How long a count is used. Alerts about dead letters are a matter of hours.
COUNT_EVERY_SECONDS = 30.0
#: The same where Redis would have reported a change; shorter than FORGET_SECONDS.
COUNT_UNCHANGED_SECONDS = 500.0
#: A trigger that is no longer measured is forgotten after this time, and the oldest of more than this number.
FORGET_SECONDS = 600.0
MAX_COUNTED = 10_000
#: Keys counted in one round trip: few at first, and then as many as Redis manages in about this time, up to a limit.
FIRST_ROUND = 4
ROUND_SECONDS = 0.02
MAX_ROUND = 500
#: The digits of the largest ID of a stream entry, which has 64 bits.
MAX_DIGITS = 20
#: XRANGE would return the whole oldest dead letter, which may be of any size. The script returns only its ID, but Redis
#: copies the dead letter for it and serves nobody else meanwhile.
COUNT = """
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return {redis.call('XLEN', KEYS[1]), oldest and oldest[1]}
"""


@dataclass(frozen=True)
class DeadLetterCount:
    """How many dead letters the keys of a trigger have, and when the oldest was added (Unix time in ms)."""

    letters: int
    oldest_ms: int | None


class DeadLetterCounter:
    """The dead letters of the triggers of one Redis. What cannot be counted, because it is denied, is unknown."""

    def __init__(self, client: Client) -> None:
        self._client = client
        #: By the hash of a trigger's keys, which may be long.
        self._counted: OrderedDict[int, tuple[float, DeadLetterCount | None]] = OrderedDict()

    def count(self, trigger: MeasuredTrigger) -> DeadLetterCount | None:
        """Return the last count of a trigger, or None if it is unknown."""
        return self._counted.get(hash(trigger.trigger.keys), (0.0, None))[1]

    def due(
        self, triggers: Iterable[MeasuredTrigger], unchanged_since: Callable[[MeasuredTrigger], float | None]
    ) -> list[MeasuredTrigger]:
        """Return the triggers that are to be counted again. `unchanged_since` returns since when no change was reported
        of a trigger's dead letters; None if it is not known.
        """
        now, never = time.monotonic(), (float("-inf"), None)
        due: list[MeasuredTrigger] = []
        for each in triggers:
            if isinstance(each.trigger, QueueTrigger):  # its library keeps them in its own way
                continue
            counted_at = self._counted.get(hash(each.trigger.keys), never)[0]
            since = unchanged_since(each)
            unchanged = since is not None and since < counted_at
            if now - counted_at > (COUNT_UNCHANGED_SECONDS if unchanged else COUNT_EVERY_SECONDS):
                due.append(each)
        return due

    async def refresh(self, triggers: Iterable[MeasuredTrigger]) -> None:
        """Count the dead letters of triggers, in round trips of about ROUND_SECONDS. Never raises SourceError."""
        counted = list(triggers)
        keys = iter(dict.fromkeys(key for measured in counted for key in measured.trigger.keys))
        by_key: dict[str, DeadLetterCount | None] = {}
        size = FIRST_ROUND
        while some := list(islice(keys, size)):
            began = time.monotonic()
            commands = [(key, [("EVAL", COUNT, 1, dead_letters_key(key))]) for key in some]
            try:
                replies = await self._client.transactions(commands, doing="counting dead letters")
            except SourceError:
                replies = [[] for _ in some]
            by_key.update(zip(some, map(_read, replies), strict=True))
            affordable = size * ROUND_SECONDS / max(time.monotonic() - began, 1e-6)
            size = max(1, min(2 * size, int(affordable), MAX_ROUND))
        now = time.monotonic()
        for measured in counted:
            identity = hash(measured.trigger.keys)
            self._counted[identity] = (now, _total(by_key[key] for key in measured.trigger.keys))
            self._counted.move_to_end(identity)
        while self._counted and (
            len(self._counted) > MAX_COUNTED or next(iter(self._counted.values()))[0] < now - FORGET_SECONDS
        ):
            self._counted.popitem(last=False)


def _read(reply: list[Any]) -> DeadLetterCount | None:
    match reply:
        case [[int(letters)]]:
            return DeadLetterCount(letters, None)
        case [[int(letters), bytes(oldest)]]:
            milliseconds = oldest.partition(b"-")[0]
            is_time = milliseconds.isdigit() and len(milliseconds) <= MAX_DIGITS
            return DeadLetterCount(letters, int(milliseconds)) if is_time else None
        case _:
            return None


def _total(counts: Iterable[DeadLetterCount | None]) -> DeadLetterCount | None:
    """Return the count over all keys, or None if one of them is unknown."""
    known: list[DeadLetterCount] = []
    for count in counts:
        if count is None:
            return None
        known.append(count)
    oldest = min((count.oldest_ms for count in known if count.oldest_ms is not None), default=None)
    return DeadLetterCount(sum(count.letters for count in known), oldest)
