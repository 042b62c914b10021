"""One run of the benchmark: installs peers, fills backlogs, measures rounds in turns, then memory."""

from collections.abc import Callable

from rich.console import Console
from rich.progress import track

from benchmarks.peers.entrants import OURS, Entrant, counterpart
from benchmarks.peers.environments import install
from benchmarks.peers.floor import PIPELINES, benchmark, taken_per_second
from benchmarks.peers.measuring import Failed, Measuring
from benchmarks.peers.results import Results
from triggerfish.testing.server import Server

__all__ = ["Session"]


class Session:
    """Adds to `results`. An entrant that fails is dropped, and the results give the reason."""

    def __init__(self, server: Server, results: Results, console: Console, *, entries: int) -> None:
        self._server = server
        self._results = results
        self._console = console
        self._entries = entries
        self._measuring = Measuring(server, entries)

    def install(self) -> None:
        """Install the peers that are not installed yet."""
        failures: dict[str, str] = {}
        workers = list(dict.fromkeys(one.worker for one in self._results.runs if one.worker))
        for worker in track(workers, "installing peers", console=self._console):
            failures[worker] = install(worker)
        for entrant in list(self._results.runs):
            if failures.get(entrant.worker):
                self._results.drop(entrant, failures[entrant.worker])

    def fill(self) -> None:
        """Create a backlog for each entrant."""
        for entrant in track(list(self._results.runs), "filling", console=self._console):
            self._attempt(entrant, self._measuring.prepare)

    def measure(self, rounds: int) -> None:
        """Measure rounds, every other one in reverse order: later runs may find a warmer or busier machine."""
        for number in range(rounds):
            order = sorted(self._results.runs, key=_comparison_order, reverse=bool(number % 2))
            for entrant in track(order, f"round {number + 1} of {rounds}", console=self._console):
                self._attempt(entrant, self._measure)
            self._measure_floor()

    def measure_memory(self, backlog: int) -> None:
        """Measure the memory of one entrant per product and kind of source."""

        def measure(entrant: Entrant) -> None:
            self._results.memory[entrant] = self._measuring.memory(entrant, backlog)

        entrants = [one for one in self._results.runs if one.in_memory]
        for entrant in track(entrants, "memory", console=self._console):
            self._attempt(entrant, measure)

    def _measure(self, entrant: Entrant) -> None:
        self._results.runs[entrant].append(self._measuring.measure(entrant))

    def _measure_floor(self) -> None:
        program = benchmark()
        if program is None:
            self._results.failures["redis-benchmark"] = "not installed: install redis-tools or Redis's own package"
            return
        for pipeline in PIPELINES:
            rate = taken_per_second(program, self._server, self._entries, pipeline)
            self._results.floors.setdefault(pipeline, []).append(rate)

    def _attempt(self, entrant: Entrant, step: Callable[[Entrant], None]) -> None:
        try:
            step(entrant)
        except Failed as failure:
            self._results.drop(entrant, str(failure))


def _comparison_order(entrant: Entrant) -> tuple[str, str]:
    """Return the sort key that puts compared entrants next to each other, Triggerfish first."""
    return counterpart(entrant.scenario).name, "" if entrant.product == OURS else entrant.product
