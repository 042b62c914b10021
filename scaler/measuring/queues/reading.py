"""The commands that measure queues of other libraries, and how to read their replies."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from listeners.errors import AccessDeniedError, CommandRefusedError, SourceError
from listeners.keys import key_slot
from listeners.redis.client import Client, CommandGroup
from listeners.redis.scripts import ScriptCall
from listeners.redis.server_info import ServerInfo
from listeners.text import printable
from scaler.measuring.backlog import Jobs, KeyBacklog
from scaler.measuring.queries import Reply, run
from scaler.measuring.queues.rights import with_rights
from scaler.queues.parts import Command, Part, Tally
from scaler.queues.trigger import QueueTrigger
from scaler.triggers.measured_trigger import MeasuredTrigger

__all__ = ["QueueReading", "run_with_queues"]

MAX_NAME_CHARACTERS, MAX_DOING_CHARACTERS = 100, 400


@dataclass(frozen=True)
class _PartRead:
    """A part, and the tally that its jobs belong to."""

    part: Part
    tally: Tally


@dataclass
class QueueReading:
    """One measurement of a trigger at a time `now` (Unix time).

    All commands run in one transaction if the keys are on one server. In a cluster, keys of different slots are read
    one after another in the order in which jobs move, so that a job on its way is counted twice rather than missed.
    """

    trigger: QueueTrigger
    now: float
    _tallies: dict[str, Tally] = field(default_factory=dict)
    _parts: list[_PartRead] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, part in self.trigger.layout:
            self._parts.append(_PartRead(part, self._tallies.setdefault(name, Tally())))

    def stages(self, server: ServerInfo, *, in_slots: bool) -> list[list[CommandGroup]]:
        """Return the groups of commands, in stages to be run one after another. With `in_slots`, a group has keys of
        one slot only. The replies to each stage are read with `read` before the next one is run.
        """
        self._stages = self._split() if in_slots else [self._parts]
        stages: list[list[CommandGroup]] = [
            [(some[0].part.key, [command for one in some for command in one.part.commands(self.now)])]
            for some in self._stages
        ]
        # Before the others, since jobs move from what they count to what the others count.
        stages[0] = [*((one.part.key, [_for(server, command)]) for one, command in self._apart()), *stages[0]]
        return stages

    def read(self, stage: int, replies: Sequence[Reply]) -> None:
        """Read the replies to a stage. Raises SourceError, which names the keys."""
        parts = self._stages[stage]
        values = iter(self._values([one.part.key for one in parts for _ in one.part.commands(self.now)], replies[-1]))
        for one in parts:
            each = [next(values) for _ in one.part.commands(self.now)]
            try:
                one.part.read(each, one.tally)
            except ValueError as error:
                raise CommandRefusedError(f"measuring {self._what}: key {one.part.key!r}: {error}") from None
        for (one, _), reply in zip(self._apart() if stage == 0 else (), replies[:-1], strict=True):
            self._read_apart(one.part, one.tally, reply)

    def result(self) -> list[KeyBacklog]:
        """Return the backlogs, once all stages are read."""
        return [
            KeyBacklog(
                name,
                tally.waiting,
                tally.in_progress,
                jobs=Jobs(
                    tally.due,
                    tally.scheduled,
                    tally.next_due_at,
                    paused=tally.paused,
                    capped=tally.capped,
                    reported=tally.reported,
                ),
            )
            for name, tally in self._tallies.items()
        ]

    def _read_apart(self, part: Part, tally: Tally, reply: Reply) -> None:
        [value] = self._values([part.key], reply)
        try:
            part.read_apart(value, tally)
        except ValueError as error:
            raise CommandRefusedError(f"measuring {self._what}: key {part.key!r}: {error}") from None

    def _apart(self) -> Iterator[tuple[_PartRead, Command | ScriptCall]]:
        for one in self._parts:
            if (command := one.part.apart(self.now)) is not None:
                yield one, command

    def _split(self) -> list[list[_PartRead]]:
        """Return the parts in their order, together where they have a slot in common."""
        stages: list[list[_PartRead]] = []
        for one in self._parts:
            if stages and key_slot(stages[-1][0].part.key) == key_slot(one.part.key):
                stages[-1].append(one)
            else:
                stages.append([one])
        return stages

    def _values(self, keys: Sequence[str], reply: Reply) -> list[Any]:
        """Return the values of a reply to commands with these keys. Raises SourceError, which names the key if it is
        known, or else all keys.
        """
        complete = len(reply.values) == len(keys)
        wrong = [key for key, value in zip(keys, reply.values, strict=False) if isinstance(value, Exception)]
        named = wrong[:1] if complete and wrong else list(dict.fromkeys(keys))
        doing = f"measuring {self._what}: {'key' if len(named) == 1 else 'keys'} {', '.join(map(repr, named))}"
        doing = printable(doing, MAX_DOING_CHARACTERS)
        try:
            values = reply.read(doing)
        except AccessDeniedError as error:
            raise with_rights(error) from None
        if not complete:
            raise CommandRefusedError(f"{doing}: {len(values)} replies to {len(keys)} commands")
        return values

    @property
    def _what(self) -> str:
        return printable(self.trigger.reads, MAX_NAME_CHARACTERS)


def _for(server: ServerInfo, command: Command | ScriptCall) -> Command | ScriptCall:
    """Return a command as this release of Redis has it."""
    return replace(command, read_only=server.supports(7)) if isinstance(command, ScriptCall) else command


async def run_with_queues(
    client: Client,
    server: ServerInfo,
    groups: Sequence[CommandGroup],
    triggers: Iterable[MeasuredTrigger],
) -> tuple[list[Reply], dict[MeasuredTrigger, list[KeyBacklog] | SourceError]]:
    """Run groups of commands together with those of the queue triggers among `triggers`, in one round trip unless keys
    of a queue are in different slots of a cluster. Return the replies, and the backlogs of the queues.
    """
    now = time.time()
    readings = {each: QueueReading(each.trigger, now) for each in triggers if isinstance(each.trigger, QueueTrigger)}
    stages = {measured: reading.stages(server, in_slots=client.is_cluster) for measured, reading in readings.items()}
    errors: dict[MeasuredTrigger, SourceError] = {}
    first: list[Reply] = []
    for number in range(max(map(len, stages.values()), default=1)):
        due = {each: stage[number] for each, stage in stages.items() if number < len(stage) and each not in errors}
        sent = [*(groups if number == 0 else ()), *(group for some in due.values() for group in some)]
        replies = await run(client, server, sent) if sent else []
        if number == 0:
            first, replies = replies[: len(groups)], replies[len(groups) :]
        for measured, some in due.items():
            own, replies = replies[: len(some)], replies[len(some) :]
            try:
                readings[measured].read(number, own)
            except SourceError as error:
                errors[measured] = error
    return first, {each: errors.get(each) or reading.result() for each, reading in readings.items()}
