"""The results of a session, and the ratios computed from them."""

import statistics
from dataclasses import dataclass, field

from benchmarks.host.scenarios import Scenario
from benchmarks.peers.entrants import OURS, Entrant, counterpart
from benchmarks.peers.measuring import Measured, Memory

__all__ = ["AIMS", "Aim", "Results"]


@dataclass(frozen=True)
class Aim:
    """A target: Triggerfish is `times` as fast as another product's fastest mode of the same kind.

    The same kind means the same source and the same kind of call; with `same_delivery` also the same guarantee.
    """

    what: str
    scenario: Scenario
    times: float
    same_delivery: bool = False

    def fits(self, entrant: Entrant) -> bool:
        """Return whether an entrant is of the same kind."""
        other = entrant.scenario
        kind = (other.kind, other.batch_calls) == (self.scenario.kind, self.scenario.batch_calls)
        return kind and (not self.same_delivery or other.delivery == self.scenario.delivery)


AIMS = [
    Aim("list, entry per call, batch 10", Scenario.parse("list:at-least-once:entries:10"), 10),
    Aim("same, at most once like FastStream", Scenario.parse("list:at-most-once:entries:10"), 10, True),
    Aim("stream, entry per call, batch 10", Scenario.parse("stream:at-least-once:entries:10"), 10),
    Aim("same, at least once like FastStream", Scenario.parse("stream:at-least-once:entries:10"), 10, True),
    Aim("list, batch of 100 per call", Scenario.parse("list:at-least-once:batches:100"), 1),
    Aim("same, at most once like FastStream", Scenario.parse("list:at-most-once:batches:100"), 1, True),
    Aim("stream, batch of 100 per call", Scenario.parse("stream:at-least-once:batches:100"), 1),
    Aim("pub/sub", Scenario.parse("pubsub:at-most-once:entries:1"), 3),
]


@dataclass
class Results:
    """Results of a session.

    `runs` has one run per round for each entrant, `floors` the LPOPs per second by pipeline size, and `failures` the
    reason for each entrant that failed.
    """

    about: list[str]
    runs: dict[Entrant, list[Measured]] = field(default_factory=dict)
    floors: dict[int, list[float]] = field(default_factory=dict)
    memory: dict[Entrant, Memory] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def drop(self, entrant: Entrant, why: str) -> None:
        """Record that an entrant failed and discard its figures: an incomplete set is not comparable."""
        self.failures[entrant.name] = why
        self.runs.pop(entrant, None)
        self.memory.pop(entrant, None)

    def rate(self, entrant: Entrant) -> float:
        """Return the median of the entries per second."""
        return statistics.median(one.run.rate for one in self.runs[entrant])

    def cpu_per_million(self, entrant: Entrant) -> float:
        """Return the median of the CPU seconds per million entries."""
        return statistics.median(one.run.cpu_per_million for one in self.runs[entrant])

    def start_seconds(self, product: str) -> float | None:
        """Return the median of the start-up times of all runs of a product; None if none was measured."""
        seconds = [
            one.start_seconds
            for entrant, runs in self.runs.items()
            if entrant.product == product
            for one in runs
            if one.start_seconds is not None
        ]
        return statistics.median(seconds) if seconds else None

    def ours(self, scenario: Scenario) -> Entrant | None:
        """Return the entrant of Triggerfish with this scenario, if it was measured."""
        return next((one for one in self.runs if one.product == OURS and one.scenario == scenario), None)

    def ratios(self, entrant: Entrant, scenario: Scenario | None = None) -> list[float]:
        """Return how many times as fast Triggerfish was in each round, with `scenario` or the entrant's counterpart."""
        return [own.run.rate / other.run.rate for own, other in self._pairs(entrant, scenario)]

    def cpu_ratios(self, entrant: Entrant, scenario: Scenario | None = None) -> list[float]:
        """Return how many times as much CPU time per entry the entrant needed as Triggerfish, in each round."""
        return [other.run.cpu_per_million / own.run.cpu_per_million for own, other in self._pairs(entrant, scenario)]

    def _pairs(self, entrant: Entrant, scenario: Scenario | None) -> list[tuple[Measured, Measured]]:
        """Return the runs of Triggerfish and of the entrant, paired by round."""
        ours = self.ours(scenario or counterpart(entrant.scenario))
        return list(zip(self.runs[ours], self.runs[entrant], strict=True)) if ours and entrant in self.runs else []

    def fastest(self, product: str, aim: Aim) -> Entrant | None:
        """Return the fastest of a product's modes that fit the aim."""
        modes = [one for one in self.runs if one.product == product and aim.fits(one)]
        return max(modes, key=self.rate, default=None)
