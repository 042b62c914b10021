"""What the scaler says while connections are cut, delayed and held back against each other, compared to the truth."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceError
from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import inflight_key
from scaler.measuring.sampler import Sample, Sampler
from scaler.triggers.measured_trigger import MeasuredTrigger
from tests.support.network.unruly_link import UnrulyLink, unruly_link
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = [pytest.mark.releases("redis-6.0", "valkey-9.1"), pytest.mark.timeout(600)]

STEPS = 10_000
BOUND_SECONDS = 0.3
MAX_PROOF_AGE_SECONDS = 0.4
LIST, STREAM = (
    MeasuredTrigger(ListTrigger(keys=("l",))),
    MeasuredTrigger(StreamTrigger(keys=("s",), consumer_group="g")),
)


@dataclass
class Truth:
    """The sizes of a backlog, each with the time since which it may have been true."""

    sizes: list[tuple[float, int]] = field(default_factory=list)

    @property
    def size(self) -> int:
        """The size now."""
        return self.sizes[-1][1]

    def during(self, since: float) -> set[int]:
        """Return the sizes that may have been true at or after a time."""
        ends = [began for began, _ in self.sizes[1:]] + [float("inf")]
        # A size may be true until the write that changes it has been answered, before which the next one began.
        return {size for (_, size), end in zip(self.sizes, ends, strict=True) if end >= since}


class World:
    """The only writer of a list and a stream, and so the one who knows how many entries they have."""

    def __init__(self, client: redis.Redis, chance: random.Random) -> None:
        self._client = client
        self._chance = chance
        self.truths = {LIST: Truth(), STREAM: Truth()}
        self._reset()

    def write(self) -> None:
        """Change something at random. Mostly there is nothing, as with an idle trigger."""
        client, chance = self._client, self._chance
        match chance.randrange(12):
            case 0 | 1:
                self._write(LIST, self.truths[LIST].size + 1, lambda: client.rpush("l", "x"))
            case 2 | 3:
                self._write(LIST, 0, lambda: client.delete("l", inflight_key("l")))
            case 4:
                self._write(
                    LIST, self.truths[LIST].size + 1, lambda: client.zadd(inflight_key("l"), {str(chance.random()): 1})
                )
            case 5 | 6:
                self._write(STREAM, self.truths[STREAM].size + 1, lambda: client.xadd("s", {"a": "b"}))
            case 7 | 8:
                self._consume()
            case 9 if chance.random() < 0.05:
                self._reset()
            case _:
                pass

    def _consume(self) -> None:
        """Take all entries of the stream and acknowledge them, which is not reported."""
        read: Any = self._client.xreadgroup("g", "c", {"s": ">"}, count=1_000)
        ids = [entry[0] for stream in read for entry in stream[1]]
        if ids:
            self._write(STREAM, 0, lambda: self._client.xack("s", "g", *ids))

    def _reset(self) -> None:
        began = time.monotonic()
        with self._client.pipeline() as pipeline:
            pipeline.flushall()
            pipeline.xgroup_create("s", "g", mkstream=True)
            pipeline.execute()
        for truth in self.truths.values():
            truth.sizes.append((began, 0))

    def _write(self, trigger: MeasuredTrigger, size: int, run: object) -> None:
        truth = self.truths[trigger]
        truth.sizes.append((time.monotonic(), size))
        assert callable(run)
        run()
        del truth.sizes[:-500]


def true_at(sample: Sample) -> float:
    """Return until when the scaler claims to know."""
    proved_at = sample.armed.proved_at if sample.armed is not None else None
    return max(sample.taken_at, proved_at or sample.taken_at)


@pytest.fixture
async def link(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UnrulyLink]:
    """A link to the server, and times that are short enough for thousands of faults."""
    monkeypatch.setattr("listeners.tracking.node.PROVE_SECONDS", 0.02)
    monkeypatch.setattr("listeners.tracking.node.ANSWER_SECONDS", 2.0)
    monkeypatch.setattr("listeners.tracking.node.ARM_SECONDS", 0.05)
    monkeypatch.setattr("listeners.tracking.node.MAX_PROOF_AGE_SECONDS", MAX_PROOF_AGE_SECONDS)
    monkeypatch.setattr("listeners.tracking.watch.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("listeners.tracking.watch.LAST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("scaler.measuring.outage.FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("scaler.measuring.outage.LAST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr("scaler.measuring.sampler.FRESH_SECONDS", 0.001)
    async with unruly_link(server.port) as found:
        yield found


async def test_ten_thousand_random_steps(server: Server, link: UnrulyLink, version: tuple[int, ...]) -> None:
    """Whatever happens to the connections, a sample was true when it claims to be, and is not older than its bound."""
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    untold: list[None] = []
    answers: Counter[str] = Counter()
    # Before 7.0 undelivered entries are counted page by page, and entries come and go meanwhile.
    triggers = [LIST, STREAM] if version >= (7,) else [LIST]
    with server.client() as client:
        world = World(client, chance)
        sampler = Sampler(
            parse_connection_string(link.address),
            bound_seconds=BOUND_SECONDS,
            on_measured=lambda seconds, error: None,
            on_untold=lambda: untold.append(None),
        )
        steps = STEPS if version >= (7,) else STEPS // 4
        for step in range(steps):
            _disturb(link, chance)
            world.write()
            trigger = chance.choice(triggers)
            asked_at = time.monotonic()
            asking = asyncio.create_task(sampler.sample(trigger, fresh=chance.random() < 0.1))
            while not asking.done():  # something changes at every moment of a measurement
                if chance.random() < 0.05:
                    world.write()
                await asyncio.sleep(0)
            try:
                sample = await asking
            except SourceError:
                answers["unknown"] += 1
                continue
            known_at = true_at(sample)
            answers["from memory" if sample.taken_at < asked_at and sample.armed else "measured"] += 1
            where = f"seed {seed}, step {step}"
            assert sample.backlog.entries in world.truths[trigger].during(known_at), where
            if trigger is LIST or sample.armed is not None:  # what is costly for Redis is kept for longer
                assert asked_at - known_at <= MAX_PROOF_AGE_SECONDS, where
        for tracking in (True, False):
            link.release(tracking=tracking)

        async def agrees() -> bool:
            try:
                found = [(await sampler.sample(trigger)).backlog.entries for trigger in triggers]
            except SourceError:
                return False
            return found == [world.truths[trigger].size for trigger in triggers]

        await eventually(agrees)
        await sampler.close()
    assert not untold
    assert answers["from memory"] > steps / 20, answers
    assert answers["measured"] > steps / 20, answers


def _disturb(link: UnrulyLink, chance: random.Random) -> None:
    """Cut, hold back or release connections at random."""
    tracking = chance.random() < 0.8
    dice = chance.random()
    if dice < 0.01:
        link.cut(tracking=tracking)
    elif dice < 0.02 and (tracking or chance.random() < 0.2):
        link.hold(tracking=tracking)
    elif dice < 0.05:
        link.release(tracking=tracking)
