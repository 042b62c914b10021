"""When dramatiq's delayed messages are due, which only the messages tell."""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from listeners.errors import CommandRefusedError, SourceError
from listeners.redis.client import Client
from listeners.redis.scripts import ScriptCall, load_script
from listeners.redis.server_info import ServerInfo
from listeners.text import printable
from scaler.measuring.backlog import Jobs, KeyBacklog, KeySample
from scaler.measuring.queries import run
from scaler.measuring.queues.rights import of_trigger
from scaler.measuring.slow_lane import KeyResult
from scaler.queues.libraries import DramatiqQueue

__all__ = ["DelayedMessages"]

ETAS = load_script("scaler.queues", "etas")
#: How many messages one step reads, and a search at most. Those beyond count as due: it is not known that they are not.
STEP_MESSAGES = 100
MAX_MESSAGES = 1_000
#: How long the times that were read are used while the number of messages stays the same.
KEPT_SECONDS = 5.0
MAX_KEPT = 1_000
#: The digits of the latest time that is read, in milliseconds.
MAX_DIGITS = 18
MAX_NAME_CHARACTERS = 100


@dataclass(frozen=True)
class _Times:
    """The times at which messages are due (Unix time), how many others there are, and when they were read."""

    due_at: tuple[float, ...]
    unknown: int
    read_at: float

    @property
    def total(self) -> int:
        return len(self.due_at) + self.unknown


class DelayedMessages:
    """Reads the times of delayed messages of one Redis, now and then."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._times: OrderedDict[str, _Times] = OrderedDict()

    def measure(
        self, trigger: DramatiqQueue, backlog: KeyBacklog, taken_at: float, server: ServerInfo
    ) -> "KeyResult | asyncio.Future[KeyResult]":
        """Return a backlog whose delayed messages, which are all scheduled until now, are due or scheduled."""
        delayed = backlog.jobs.scheduled if backlog.jobs is not None else 0
        key = trigger.parts_of(backlog.key)[0].key
        times = self._times.get(key)
        if times is None or times.total != delayed or time.monotonic() - times.read_at > KEPT_SECONDS:
            return asyncio.ensure_future(self._read(trigger, key, backlog, taken_at, server))
        return KeySample(_with_times(backlog, times), taken_at)

    async def _read(
        self, trigger: DramatiqQueue, key: str, backlog: KeyBacklog, taken_at: float, server: ServerInfo
    ) -> KeyResult:
        began = time.monotonic()
        found: list[Any] = []
        cursor: bytes | None = b"0"
        try:
            while cursor is not None and len(found) < MAX_MESSAGES:
                call = ScriptCall(ETAS, (key,), (cursor, STEP_MESSAGES), read_only=server.supports(7))
                [reply] = await run(self._client, server, [(key, [call])])
                match reply.read(f"reading delayed messages {key!r}"):
                    case [[bytes(next_cursor), [*texts]]]:
                        found += texts
                        cursor = None if next_cursor == b"0" else next_cursor
                    case _:
                        return CommandRefusedError(f"reading delayed messages {key!r}: unreadable reply")
        except SourceError as error:
            return of_trigger(printable(trigger.reads, MAX_NAME_CHARACTERS), error)
        due_at = tuple(
            int(text) / 1_000
            for text in found
            if isinstance(text, bytes) and text.isdigit() and len(text) <= MAX_DIGITS
        )
        delayed = backlog.jobs.scheduled if backlog.jobs is not None else 0
        times = self._times[key] = _Times(due_at, max(delayed - len(due_at), 0), began)
        self._times.move_to_end(key)
        while len(self._times) > MAX_KEPT:
            self._times.popitem(last=False)
        return KeySample(_with_times(backlog, times), taken_at)


def _with_times(backlog: KeyBacklog, times: _Times) -> KeyBacklog:
    now = time.time()
    later = [due_at for due_at in times.due_at if due_at > now]
    due = times.total - len(later)
    return replace(backlog, jobs=Jobs(due, len(later), min(later, default=None), capped=False))
