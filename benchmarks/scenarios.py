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
#: Messages published in one step: whoever is subscribed reads between the steps.
PAGE = 1000

#: By scripts: sending entries one by one would take a processor away from who reads.
_FILL = {
    "list": "for _ = 1, ARGV[1] do redis.call('RPUSH', KEYS[1], ARGV[2]) end",
    "stream": "for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'payload', ARGV[2]) end",
    "pubsub": "for _ = 1, ARGV[1] do redis.call('PUBLISH', KEYS[1], ARGV[2]) end",
}


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

    @property
    def settles_each(self) -> bool:
        """Whether each entry has something to be settled after a call of its own."""
        return self.delivery == "at-least-once" and not self.batch_calls

    @property
    def described(self) -> str:
        """For people."""
        if self.kind == "pubsub":
            return "pub/sub"
        calls = f"batch of {self.batch} per call" if self.batch_calls else f"entry per call, batch {self.batch}"
        return f"{self.kind}, {self.delivery.replace('-', ' ')}, {calls}"

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
    """Put the backlog there, in one step, or publish it to whoever is subscribed."""
    page = PAGE if scenario.kind == "pubsub" else entries
    for at in range(0, entries, page):
        client.eval(_FILL[scenario.kind], 1, KEY, min(page, entries - at), PAYLOAD)
