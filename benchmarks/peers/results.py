"""What was found, and what follows from it."""

import statistics
from dataclasses import dataclass, field

from benchmarks.peers.entrants import OURS, Entrant, counterpart
from benchmarks.peers.measuring import Measured, Memory
from benchmarks.scenarios import Scenario

__all__ = ["AIMS", "Aim", "Results"]


@dataclass(frozen=True)
class Aim:
    """How many times as fast as another product's fastest mode of the same kind ours is meant to be.

    Of the same kind: the same source and the same calls; with `same_delivery` the same guarantee too.
    """

    what: str
    scenario: Scenario
    times: float
    same_delivery: bool = False

    def fits(self, entrant: Entrant) -> bool:
        """Whether an entrant is of the kind."""
        other = entrant.scenario
        kind = (other.kind, other.batch_calls) == (self.scenario.kind, self.scenario.batch_calls)
        return kind and (not self.same_delivery or other.delivery == self.scenario.delivery)


AIMS = [
    Aim("list, entry per call, batch 10", Scenario.parse("list:at-least-once:entries:10"), 10),
    Aim("the same, at most once like that one", Scenario.parse("list:at-most-once:entries:10"), 10, True),
    Aim("stream, entry per call, batch 10", Scenario.parse("stream:at-least-once:entries:10"), 10),
    Aim("the same, at least once like that one", Scenario.parse("stream:at-least-once:entries:10"), 10, True),
    Aim("list, batch of 100 per call", Scenario.parse("list:at-least-once:batches:100"), 1),
    Aim("the same, at most once like that one", Scenario.parse("list:at-most-once:batches:100"), 1, True),
    Aim("stream, batch of 100 per call", Scenario.parse("stream:at-least-once:batches:100"), 1),
    Aim("pub/sub", Scenario.parse("pubsub:at-most-once:entries:1"), 3),
]


@dataclass
class Results:
    """Runs by entrant, in the order of the rounds; LPOPs per second by pipeline; memory; who failed, and why."""

    about: list[str]
    runs: dict[Entrant, list[Measured]] = field(default_factory=dict)
    floors: dict[int, list[float]] = field(default_factory=dict)
    memory: dict[Entrant, Memory] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def drop(self, entrant: Entrant, why: str) -> None:
        """Say that an entrant failed; a part of its figures would not be comparable."""
        self.failures[entrant.name] = why
        self.runs.pop(entrant, None)
        self.memory.pop(entrant, None)

    def rate(self, entrant: Entrant) -> float:
        """Entries per second: the median."""
        return statistics.median(one.run.rate for one in self.runs[entrant])

    def cpu_per_million(self, entrant: Entrant) -> float:
        """Seconds of the processor for a million entries: the median."""
        return statistics.median(one.run.cpu_per_million for one in self.runs[entrant])

    def start_seconds(self, product: str) -> float | None:
        """From the process's start to the first call: the median of all of a product's runs; None if not measured."""
        found = [
            one.start_seconds
            for entrant, runs in self.runs.items()
            if entrant.product == product
            for one in runs
            if one.start_seconds is not None
        ]
        return statistics.median(found) if found else None

    def ours(self, scenario: Scenario) -> Entrant | None:
        """Ours, if it was measured in that way."""
        return next((one for one in self.runs if one.product == OURS and one.scenario == scenario), None)

    def ratios(self, entrant: Entrant, scenario: Scenario | None = None) -> list[float]:
        """How many times as fast ours was, round by round; as `scenario`, or as the entrant's counterpart."""
        return [own.run.rate / other.run.rate for own, other in self._pairs(entrant, scenario)]

    def cpu_ratios(self, entrant: Entrant, scenario: Scenario | None = None) -> list[float]:
        """How many times as much of the processor an entry takes there as with ours, round by round."""
        return [other.run.cpu_per_million / own.run.cpu_per_million for own, other in self._pairs(entrant, scenario)]

    def _pairs(self, entrant: Entrant, scenario: Scenario | None) -> list[tuple[Measured, Measured]]:
        """Ours and the entrant's of each round."""
        ours = self.ours(scenario or counterpart(entrant.scenario))
        return list(zip(self.runs[ours], self.runs[entrant], strict=True)) if ours and entrant in self.runs else []

    def fastest(self, product: str, aim: Aim) -> Entrant | None:
        """Of a product's modes that are of the aim's kind."""
        modes = [one for one in self.runs if one.product == product and aim.fits(one)]
        return max(modes, key=self.rate, default=None)
