"""Plots latency, cost and memory by number of ScaledObjects."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.scaler.keda import IN_FLIGHT
from benchmarks.scaler.results import Results

__all__ = ["draw"]

#: For each quantile, its index in the results and its line style.
LINES = {"p50": (0, "-"), "p99": (1, "--")}

Points = Sequence[tuple[float, float | None]]


def draw(results: Results, path: Path) -> None:
    """Write the plot, with logarithmic axes."""
    # Keep text as text, and write the same file for the same results.
    mpl.rcParams.update({"svg.hashsalt": "triggerfish", "svg.fonttype": "none"})
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    answers, activation, cost, memory = figure.subplots(2, 2).flat
    _draw_answers(answers, results)
    _draw_activation(activation, results)
    _draw_cost(cost, results)
    _draw_memory(memory, results)
    for axes in figure.axes:
        axes.set_xlabel("ScaledObjects")
        axes.grid(visible=True, which="major", alpha=0.3)
    figure.suptitle(f"The scaler, {results.about.date}, {results.about.machine.partition(' (')[0]}")
    figure.savefig(path, metadata={"Date": None})


def _draw_answers(axes: Axes, results: Results) -> None:
    axes.set(title="GetMetrics", ylabel="latency, ms")
    for at_once, color in ((False, "C0"), (True, "C1")):
        found = [one for one in results.answering if one.at_once == at_once and one.quantiles]
        for quantile, (place, style) in LINES.items():
            points = [(one.scaled_objects, one.quantiles["GetMetrics"][place]) for one in found]
            _line(axes, points, f"{'all at once' if at_once else f'{IN_FLIGHT} at a time'}, {quantile}", color, style)


def _draw_activation(axes: Axes, results: Results) -> None:
    axes.set(title="Activation latency", ylabel="latency, ms")
    for quantile, (place, style) in LINES.items():
        for by_tracking, color in ((True, "C0"), (False, "C1")):
            found = [one for one in results.activation if one.by_tracking == by_tracking]
            points = [(one.scaled_objects, one.quantiles[place]) for one in found if one.quantiles is not None]
            _line(axes, points, f"by {'tracking' if by_tracking else 'polling'}, {quantile}", color, style)
        bare = [(one.scaled_objects, one.bare[place]) for one in results.activation if one.by_tracking]
        _line(axes, bare, f"bare client, {quantile}", "C2", style)


def _draw_cost(axes: Axes, results: Results) -> None:
    axes.set(title="CPU time per poll", ylabel="µs")
    paced = [one for one in results.redis if one.reads == "all" and not one.ours.at_once]
    for label, color, style, points in (
        ("scaler", "C0", "-", [(one.ours.scaled_objects, one.ours.scaler_cpu_per_poll * 1000) for one in paced]),
        ("Redis", "C3", "-", [(one.ours.scaled_objects, one.ours.redis.cpu_microseconds) for one in paced]),
        ("Redis, KEDA alone", "C4", "--", [(one.ours.scaled_objects, one.keda.cpu_microseconds) for one in paced]),
    ):
        _line(axes, points, label, color, style)


def _draw_memory(axes: Axes, results: Results) -> None:
    axes.set(title="Memory of the scaler", ylabel="RSS, MB")
    for streaming, color in ((False, "C0"), (True, "C1")):
        points = [(one.scaled_objects, one.then / 1e6) for one in results.memory if one.streaming == streaming]
        _line(axes, points, "with open streams" if streaming else "polled", color, "-")
    axes.set_ylim(bottom=10)


def _line(axes: Axes, points: Points, label: str, color: str, style: str) -> None:
    known = [(x, y) for x, y in points if y]
    if not known:
        return
    axes.plot([x for x, _ in known], [y for _, y in known], style, color=color, label=label, marker="o", markersize=4)
    axes.set(xscale="log", yscale="log")
    axes.legend(fontsize="small")
