"""The results as tables, for a terminal and for a page."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rich.table import Table as RichTable

from benchmarks.peers.entrants import OURS, Entrant
from benchmarks.peers.results import AIMS, Results

__all__ = ["Table", "tables"]

UNKNOWN = "-"
COMPARED = "FastStream"


@dataclass
class Table:
    """Texts in rows, and notes below them; columns from `numbers_from` on are numbers."""

    title: str
    columns: Sequence[str]
    numbers_from: int = 1
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def rich(self) -> RichTable:
        """For a terminal."""
        shown = RichTable(title=self.title, caption="\n".join(self.notes), caption_justify="left")
        for at, column in enumerate(self.columns):
            shown.add_column(column, justify="right" if at >= self.numbers_from else "left")
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def markdown(self) -> str:
        """For a page."""
        rules = ["---:" if at >= self.numbers_from else "---" for at in range(len(self.columns))]
        lines = ["| " + " | ".join(row) + " |" for row in (self.columns, rules, *self.rows)]
        return "\n".join([f"## {self.title}", "", *lines, "", *(f"- {note}" for note in self.notes), ""])


def tables(results: Results) -> list[Table]:
    """All of them, the short one first."""
    return [table for table in (aims(results), throughput(results), footprint(results)) if table.rows]


def aims(results: Results) -> Table:
    """Ours beside the fastest mode of the nearest relative."""
    table = Table(
        f"Beside {COMPARED}",
        (f"ours, beside {COMPARED}'s fastest of the kind", "that one", "aim", "times as fast", "times less CPU"),
        2,
    )
    for aim in AIMS:
        fastest = results.fastest(COMPARED, aim)
        if fastest is not None:
            times = spread(results.ratios(fastest, aim.scenario))
            less = spread(results.cpu_ratios(fastest, aim.scenario))
            table.rows.append((aim.what, fastest.how, f"{aim.times:g}", times, less))
    return table


def throughput(results: Results) -> Table:
    """Every entrant, beside the one of ours that does the same."""
    table = Table(
        "Throughput of one process",
        ("product", "reads", "delivery", "entries/s", "CPU s per million", "ours: times as fast", "times less CPU"),
        3,
    )
    for entrant in results.runs:
        figures = (f"{results.rate(entrant):,.0f}", f"{results.cpu_per_million(entrant):,.1f}")
        ours = entrant.product == OURS
        compared = ("", "") if ours else (spread(results.ratios(entrant)), spread(results.cpu_ratios(entrant)))
        table.rows.append((entrant.product, entrant.how, delivery(entrant), *figures, *compared))
    for pipeline, rates in results.floors.items():
        how = f"LPOP on one connection, {pipeline} at one time"
        table.rows.append(("redis-benchmark", how, "at most once", f"{statistics.median(rates):,.0f}", UNKNOWN, "", ""))
    table.notes = [
        "Medians; in brackets the smallest and the largest. CPU is that of the process, not the server's.",
        "Ours is the one that reads the same kind of source in the same kind of call, at least once, in batches of 100 "
        "beside those that take or run 100 at one time, of 10 beside all others.",
        *(f"Not measured: {name}: {why}" for name, why in results.failures.items()),
    ]
    return table


def footprint(results: Results) -> Table:
    """What it costs to have it there."""
    table = Table(
        "Start and memory of one process",
        ("product", "reads", "start s", "RSS at rest MB", "RSS peak MB", "backlog"),
        2,
    )
    for entrant, memory in results.memory.items():
        started = results.start_seconds(entrant.product)
        table.rows.append(
            (
                entrant.product,
                entrant.how,
                UNKNOWN if started is None else f"{started:.2f}",
                f"{memory.at_rest / 1e6:.0f}",
                f"{memory.peak / 1e6:.0f}",
                f"{memory.backlog:,}",
            )
        )
    table.notes = [
        "Start: from the process's start to its first call. At rest: after its work. Peak: while the backlog waited. "
        "Backlogs are long where a message may be repeated, and those of the throughput runs where each needs an id.",
    ]
    return table


def delivery(entrant: Entrant) -> str:
    """The guarantee in words."""
    return entrant.scenario.delivery.replace("-", " ")


def spread(ratios: Iterable[float]) -> str:
    """The median, and between what it lies; nothing if ours was not measured."""
    found = sorted(ratios)
    return f"{statistics.median(found):.2f} ({found[0]:.2f}-{found[-1]:.2f})" if found else UNKNOWN
