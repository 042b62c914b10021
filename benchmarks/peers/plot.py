"""Draws entries per second as bars, one panel for each kind of source."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.peers.entrants import HAND_WRITTEN, OURS, Entrant
from benchmarks.peers.results import Results

__all__ = ["draw"]

KINDS = {"list": "Lists (and sorted sets)", "stream": "Streams", "pubsub": "Pub/sub"}
COLORS = {OURS: "C0", HAND_WRITTEN: "C7"}
PEER_COLOR = "C1"


def draw(results: Results, path: Path) -> None:
    """Write the plot, with a logarithmic axis."""
    # Keep text as text, and write the same file for the same results.
    with mpl.rc_context({"svg.hashsalt": "triggerfish", "svg.fonttype": "none"}):
        by_kind = {kind: [one for one in results.runs if one.scenario.kind == kind] for kind in KINDS}
        shown = {kind: sorted(entrants, key=results.rate) for kind, entrants in by_kind.items() if entrants}
        figure = Figure(figsize=(11, 2 + 0.26 * len(results.runs)), layout="constrained")
        heights = [len(entrants) + 1 for entrants in shown.values()]
        panels = figure.subplots(len(shown), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (kind, entrants) in zip(panels, shown.items(), strict=True):
            _draw_bars(axes, results, entrants)
            axes.set_title(KINDS[kind], loc="left")
        panels[-1].set_xlabel("entries per second of one process (median)")
        figure.savefig(path, metadata={"Date": None})


def _draw_bars(axes: Axes, results: Results, entrants: list[Entrant]) -> None:
    bars = axes.barh(
        [_label(one) for one in entrants],
        [results.rate(one) for one in entrants],
        color=[COLORS.get(one.product, PEER_COLOR) for one in entrants],
    )
    axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize="small")
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.01)
    axes.tick_params(axis="y", labelsize="small")


def _label(entrant: Entrant) -> str:
    guarantee = "" if entrant.scenario.delivery == "at-least-once" else ", at most once"
    return f"{entrant.product}: {entrant.how}{guarantee}"
