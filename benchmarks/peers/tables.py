"""The results as tables, for a terminal and for a page."""

import statistics
from collections.abc import Sequence

from benchmarks.peers.entrants import OURS, Entrant
from benchmarks.peers.results import AIMS, Results
from benchmarks.tables import UNKNOWN, Table, bullets, spread

__all__ = ["tables"]

COMPARED = "FastStream"


def tables(results: Results) -> list[Table]:
    """All of them, the short one first."""
    return [table for table in (aims(results), throughput(results), footprint(results)) if table.rows]


def aims(results: Results) -> Table:
    """Ours beside the fastest mode of the nearest relative, as far as both were measured."""
    rows = []
    for aim in AIMS:
        fastest = results.fastest(COMPARED, aim)
        if fastest is not None and results.ours(aim.scenario) is not None:
            times = spread(results.ratios(fastest, aim.scenario))
            less = spread(results.cpu_ratios(fastest, aim.scenario))
            rows.append((aim.what, fastest.how, f"{aim.times:g}", times, less))
    return Table(
        f"Beside {COMPARED}",
        "Medians; in brackets the smallest and the largest of the rounds.",
        (f"ours, beside {COMPARED}'s fastest of the kind", "that one", "aim", "times as fast", "times less CPU"),
        rows,
        texts=2,
    )


def throughput(results: Results) -> Table:
    """Every entrant, beside the one of ours that does the same."""
    rows: list[Sequence[str]] = []
    for entrant in results.runs:
        figures = (f"{results.rate(entrant):,.0f}", f"{results.cpu_per_million(entrant):,.1f}")
        ours = entrant.product == OURS
        compared = ("", "") if ours else (spread(results.ratios(entrant)), spread(results.cpu_ratios(entrant)))
        rows.append((entrant.product, entrant.how, delivery(entrant), *figures, *compared))
    for pipeline, rates in results.floors.items():
        how = f"LPOP on one connection, {pipeline} at one time"
        rows.append(("redis-benchmark", how, "at most once", f"{statistics.median(rates):,.0f}", UNKNOWN, "", ""))
    notes = [
        "Medians; in brackets the smallest and the largest. CPU is that of the process, not the server's.",
        "Ours is the one that reads the same kind of source in the same kind of call, at least once, in batches of 100 "
        "beside those that take or run 100 at one time, of 10 beside all others.",
        *(f"Not measured: {name}: {why}" for name, why in results.failures.items()),
    ]
    return Table(
        "Throughput of one process",
        bullets(notes),
        ("product", "reads", "delivery", "entries/s", "CPU s per million", "ours: times as fast", "times less CPU"),
        rows,
        texts=3,
    )


def footprint(results: Results) -> Table:
    """What it costs to have it there."""
    rows = []
    for entrant, memory in results.memory.items():
        started = results.start_seconds(entrant.product)
        rows.append(
            (
                entrant.product,
                entrant.how,
                UNKNOWN if started is None else f"{started:.2f}",
                f"{memory.at_rest / 1e6:.0f}",
                f"{memory.peak / 1e6:.0f}",
                f"{memory.backlog:,}",
            )
        )
    return Table(
        "Start and memory of one process",
        "Start: from the process's start to its first call. At rest: after its work. Peak: while the backlog waited. "
        "Backlogs are long where a message may be repeated, and those of the throughput runs where each needs an id.",
        ("product", "reads", "start s", "RSS at rest MB", "RSS peak MB", "backlog"),
        rows,
        texts=2,
    )


def delivery(entrant: Entrant) -> str:
    """The guarantee in words."""
    return entrant.scenario.delivery.replace("-", " ")
