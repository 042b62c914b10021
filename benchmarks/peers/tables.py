"""Builds the tables of a session."""

import statistics
from collections.abc import Sequence

from benchmarks.peers.entrants import OURS, Entrant
from benchmarks.peers.results import AIMS, Results
from benchmarks.tables import UNKNOWN, Table, bullets, spread

__all__ = ["tables"]

COMPARED = "FastStream"


def tables(results: Results) -> list[Table]:
    """Return all tables that have rows, the short one first."""
    return [table for table in (aims(results), throughput(results), footprint(results)) if table.rows]


def aims(results: Results) -> Table:
    """Compare Triggerfish with the fastest mode of the most similar library, where both were measured."""
    rows = []
    for aim in AIMS:
        fastest = results.fastest(COMPARED, aim)
        if fastest is not None and results.ours(aim.scenario) is not None:
            speed_up = spread(results.ratios(fastest, aim.scenario))
            cpu_ratio = spread(results.cpu_ratios(fastest, aim.scenario))
            rows.append((aim.what, fastest.how, f"{aim.times:g}", speed_up, cpu_ratio))
    return Table(
        f"Compared with {COMPARED}",
        f"Each row compares Triggerfish with {COMPARED}'s fastest mode for the same source and kind of call. Medians, "
        "with minimum and maximum of the rounds in brackets.",
        ("Triggerfish", COMPARED, "target speed-up", "speed-up", "CPU ratio"),
        rows,
        texts=2,
    )


def throughput(results: Results) -> Table:
    """Compare every entrant with Triggerfish's counterpart."""
    rows: list[Sequence[str]] = []
    for entrant in results.runs:
        figures = (f"{results.rate(entrant):,.0f}", f"{results.cpu_per_million(entrant):,.1f}")
        ours = entrant.product == OURS
        compared = ("", "") if ours else (spread(results.ratios(entrant)), spread(results.cpu_ratios(entrant)))
        rows.append((entrant.product, entrant.how, delivery(entrant), *figures, *compared))
    for pipeline, rates in results.floors.items():
        how = f"LPOP on one connection, pipeline of {pipeline}"
        rows.append(("redis-benchmark", how, "at most once", f"{statistics.median(rates):,.0f}", UNKNOWN, "", ""))
    notes = [
        "Medians, with minimum and maximum in brackets. CPU is that of the process, without the server.",
        "Speed-up is Triggerfish's rate divided by the product's; CPU ratio is the product's CPU time per entry "
        "divided by Triggerfish's. Triggerfish reads the same kind of source with the same kind of call, at least "
        "once, in batches of 100 where the product takes or runs 100 concurrently, else of 10.",
        *(f"Not measured: {name}: {why}" for name, why in results.failures.items()),
    ]
    return Table(
        "Throughput of one process",
        bullets(notes),
        ("product", "reads", "delivery", "entries/s", "CPU s per million", "speed-up", "CPU ratio"),
        rows,
        texts=3,
    )


def footprint(results: Results) -> Table:
    """Return start-up time and memory."""
    rows = []
    for entrant, memory in results.memory.items():
        start_seconds = results.start_seconds(entrant.product)
        rows.append(
            (
                entrant.product,
                entrant.how,
                UNKNOWN if start_seconds is None else f"{start_seconds:.2f}",
                f"{memory.at_rest / 1e6:.0f}",
                f"{memory.peak / 1e6:.0f}",
                f"{memory.backlog:,}",
            )
        )
    return Table(
        "Start and memory of one process",
        "Start: time from the process's start to its first call. At rest: after the run. Peak: with the backlog. The "
        "backlog is long where messages may be repeated. Where each message needs its own ID, it is that of the "
        "throughput runs.",
        ("product", "reads", "start s", "RSS at rest MB", "RSS peak MB", "backlog"),
        rows,
        texts=2,
    )


def delivery(entrant: Entrant) -> str:
    """Return the delivery guarantee in words."""
    return entrant.scenario.delivery.replace("-", " ")
