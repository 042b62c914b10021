"""What the contenders of `benchmarks.throughput` do: read a backlog of one kind in one way."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the peers have environments of their own, some without redis-py
    import redis

__all__ = ["GROUP", "KEY", "PAYLOAD", "SCENARIOS", "Scenario", "fill"]

#: The list, the stream or the channel.
KEY = "bench"
GROUP = "bench"
PAYLOAD = "x" * 128
PAGE = 1000

_PUBLISH = "for _ = 1, ARGV[1] do redis.call('PUBLISH', KEYS[1], ARGV[2]) end"


@dataclass(frozen=True)
class Scenario:
    """One way of reading: `kind` (list, stream, pubsub), `delivery`, entries taken at one time, one call per batch."""

    kind: str
    delivery: str
    batch: int
    batch_calls: bool

    @property
    def name(self) -> str:
        """As it is given on the command line and to the contenders."""
        calls = "batches" if self.batch_calls else "entries"
        return f"{self.kind}:{self.delivery}:{calls}:{self.batch}"

    @classmethod
    def parse(cls, name: str) -> "Scenario":
        """The scenario of a name."""
        kind, delivery, calls, batch = name.split(":")
        return cls(kind, delivery, int(batch), calls == "batches")

    @classmethod
    def from_environment(cls) -> "Scenario":
        """What this process has to do."""
        return cls.parse(os.environ["BENCH_SCENARIO"])


SCENARIOS = [
    *(
        Scenario(kind, delivery, batch, batch_calls)
        for kind, delivery in (("list", "at-least-once"), ("list", "at-most-once"), ("stream", "at-least-once"))
        for batch_calls in (False, True)
        for batch in (10, 100)
    ),
    Scenario("pubsub", "at-most-once", 1, False),
]


def fill(client: "redis.Redis", scenario: Scenario, entries: int) -> None:
    """Put the backlog there, or publish it to whoever is subscribed."""
    for at in range(0, entries, PAGE):
        number = min(PAGE, entries - at)
        if scenario.kind == "pubsub":
            # By a script: sending them one by one would take a processor away from who reads.
            client.eval(_PUBLISH, 1, KEY, number, PAYLOAD)
        elif scenario.kind == "list":
            client.rpush(KEY, *[PAYLOAD] * number)
        else:
            pipeline = client.pipeline(transaction=False)
            for _ in range(number):
                pipeline.xadd(KEY, {"payload": PAYLOAD})
            pipeline.execute()
