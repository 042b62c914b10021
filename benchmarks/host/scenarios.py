"""Scenarios: what the contenders of `benchmarks.host.throughput` read, and how."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # each peer has its own environment, some without redis-py
    import redis

__all__ = ["GROUP", "KEY", "PAYLOAD", "SCENARIOS", "Scenario", "fill"]

#: The name of the list, the stream or the channel.
KEY = "bench"
GROUP = "bench"
PAYLOAD = "x" * 128
#: Messages published by one script call; subscribers read between the calls.
PAGE = 1000

#: Scripts, because a client that sends entries one by one would take CPU time from the readers.
_FILL = {
    "list": "for _ = 1, ARGV[1] do redis.call('RPUSH', KEYS[1], ARGV[2]) end",
    "stream": "for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'payload', ARGV[2]) end",
    "pubsub": "for _ = 1, ARGV[1] do redis.call('PUBLISH', KEYS[1], ARGV[2]) end",
}


@dataclass(frozen=True)
class Scenario:
    """One way of reading.

    `kind` is list, stream or pubsub; `delivery` is the guarantee; `batch` is the number of entries taken together;
    `batch_calls`: one call per batch instead of one per entry.
    """

    kind: str
    delivery: str
    batch: int
    batch_calls: bool

    @property
    def name(self) -> str:
        """The name on the command line and in the contenders' environment."""
        calls = "batches" if self.batch_calls else "entries"
        return f"{self.kind}:{self.delivery}:{calls}:{self.batch}"

    @property
    def settles_each(self) -> bool:
        """Whether each entry has its own call and is settled after it."""
        return self.delivery == "at-least-once" and not self.batch_calls

    @property
    def description(self) -> str:
        """The description in tables and plots."""
        if self.kind == "pubsub":
            return "pub/sub"
        calls = f"batch of {self.batch} per call" if self.batch_calls else f"entry per call, batch {self.batch}"
        return f"{self.kind}, {self.delivery.replace('-', ' ')}, {calls}"

    @classmethod
    def parse(cls, name: str) -> "Scenario":
        """Return the scenario with this name."""
        kind, delivery, calls, batch = name.split(":")
        return cls(kind, delivery, int(batch), calls == "batches")

    @classmethod
    def from_environment(cls) -> "Scenario":
        """Return the scenario that BENCH_SCENARIO names."""
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
    """Add the backlog in one script call, or publish the messages to all subscribers."""
    page = PAGE if scenario.kind == "pubsub" else entries
    for at in range(0, entries, page):
        client.eval(_FILL[scenario.kind], 1, KEY, min(page, entries - at), PAYLOAD)
