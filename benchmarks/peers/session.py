"""One run of it all: installing, filling, rounds in which entrants take turns, and memory."""

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
    """Adds to `results`. An entrant that fails is left out of the rest, and the results say why."""

    def __init__(self, server: Server, results: Results, console: Console, *, entries: int) -> None:
        self._server = server
        self._results = results
        self._console = console
        self._entries = entries
        self._measuring = Measuring(server, entries)

    def install(self) -> None:
        """Environments that are not there yet."""
        failed: dict[str, str] = {}
        workers = list(dict.fromkeys(one.worker for one in self._results.runs if one.worker))
        for worker in track(workers, "installing peers", console=self._console):
            failed[worker] = install(worker)
        for entrant in list(self._results.runs):
            if failed.get(entrant.worker):
                self._results.drop(entrant, failed[entrant.worker])

    def fill(self) -> None:
        """A backlog for each entrant."""
        for entrant in track(list(self._results.runs), "filling", console=self._console):
            self._attempt(entrant, self._measuring.prepare)

    def measure(self, rounds: int) -> None:
        """Rounds; every other one in reverse, as what comes later may find a warmer or a busier machine."""
        for number in range(rounds):
            order = sorted(self._results.runs, key=_neighbours, reverse=bool(number % 2))
            for entrant in track(order, f"round {number + 1} of {rounds}", console=self._console):
                self._attempt(entrant, self._measure)
            self._measure_floor()

    def measure_memory(self, backlog: int) -> None:
        """Memory of one entrant for each product and kind of source."""

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
            self._results.failures["redis-benchmark"] = "not installed: it is in redis-tools or Redis's own package"
            return
        for pipeline in PIPELINES:
            rate = taken_per_second(program, self._server, self._entries, pipeline)
            self._results.floors.setdefault(pipeline, []).append(rate)

    def _attempt(self, entrant: Entrant, step: Callable[[Entrant], None]) -> None:
        try:
            step(entrant)
        except Failed as failure:
            self._results.drop(entrant, str(failure))


def _neighbours(entrant: Entrant) -> tuple[str, str]:
    """Those that are compared come one after the other, ours first."""
    return counterpart(entrant.scenario).name, "" if entrant.product == OURS else entrant.product
