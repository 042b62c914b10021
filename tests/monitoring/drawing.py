"""Draw the panels of a Grafana dashboard with matplotlib (lines, single values, tables) in the dashboard's layout."""

import io
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import Bbox
from PIL import Image

__all__ = ["Drawing"]

WIDTH_INCHES, UNIT_INCHES, DPI = 13.0, 0.27, 90
COLUMNS = 24
#: Margins inside a panel for its title, axes and legend, in the dashboard's grid units.
MARGIN = {"left": 1.3, "right": 0.4, "top": 1.1, "bottom": 1.9}
INK, PAPER, PANEL, GRID = "#ccccdc", "#111217", "#181b1f", "#2c3235"
COLORS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#c4162a")
#: By Grafana unit, a factor and a suffix for values.
UNITS = {"s": (1.0, " s"), "percentunit": (100.0, " %"), "cps": (1.0, "/s"), "reqps": (1.0, "/s"), "short": (1.0, "")}

#: Rows that fit into the table.
TABLE_ROWS = 7

Series = list[dict[str, Any]]


class Drawing:
    """A picture of a dashboard. Times are shown relative to `start`, in seconds since the epoch."""

    def __init__(self, panels: list[dict[str, Any]], start: float) -> None:
        plt.rcParams.update({"font.size": 7.5, "text.color": INK, "axes.labelcolor": INK, "font.family": "DejaVu Sans"})
        self._start = start
        self._height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
        self._figure = plt.figure(figsize=(WIDTH_INCHES, self._height * UNIT_INCHES), facecolor=PAPER)

    def row(self, panel: dict[str, Any]) -> None:
        """Draw the heading of a row."""
        position = panel["gridPos"]
        title = panel["title"].partition(":")[0]
        self._figure.text(0.008, 1 - (position["y"] + 0.5) / self._height, title, va="center", size=10, weight="bold")

    def panel(self, panel: dict[str, Any], results: list[Series], *, function: str | None) -> None:
        """Draw a panel with the results of its queries. The title includes the function, if given."""
        axes = self._axes(panel["gridPos"], inner=panel["type"] == "timeseries")
        title = f"{panel['title']} ({function})" if function else panel["title"]
        if panel["type"] == "stat":
            _number(axes, results[0])
        elif panel["type"] == "table":
            _table(axes, panel, results)
        else:
            _lines(axes, panel, results, self._start)
        axes.set_title(title, loc="left", size=8, color=INK, weight="bold")

    def save(self, picture: Path) -> None:
        """Write the picture as a PNG file with 128 colours, which keeps it small."""
        buffer = io.BytesIO()
        self._figure.savefig(buffer, dpi=DPI, facecolor=PAPER)
        plt.close(self._figure)
        Image.open(buffer).convert("RGB").quantize(128).save(picture, optimize=True)

    def _axes(self, position: dict[str, int], *, inner: bool) -> Axes:
        left = position["x"] + (MARGIN["left"] if inner else 0.4)
        width = position["w"] - (MARGIN["left"] + MARGIN["right"] if inner else 0.8)
        bottom = position["y"] + position["h"] - (MARGIN["bottom"] if inner else 0.2)
        height = position["h"] - MARGIN["top"] - (MARGIN["bottom"] if inner else 0.2)
        corner = (left / COLUMNS, 1 - bottom / self._height)
        return self._figure.add_axes((*corner, width / COLUMNS, height / self._height), facecolor=PANEL)


def _number(axes: Axes, result: Series) -> None:
    text = f"{float(result[0]['value'][1]):,.0f}" if result else "unknown"
    axes.text(0.5, 0.5, text, ha="center", va="center", size=20, color=COLORS[0], transform=axes.transAxes)
    _without_ticks(axes)


def _table(axes: Axes, panel: dict[str, Any], results: list[Series]) -> None:
    organize = next(step for step in panel["transformations"] if step["id"] == "organize")["options"]
    order, names = organize["indexByName"], organize["renameByName"]
    rows: dict[str, dict[str, str]] = {}
    for target, result in zip(panel["targets"], results, strict=True):
        for series in result:
            row = rows.setdefault(series["metric"]["trigger"], dict(series["metric"]))
            column = f"Value #{target['refId']}"
            row[column] = _cell(panel, names[column], float(series["value"][1]))
    columns = sorted(order, key=order.__getitem__)
    cells = [[row.get(column, "") for column in columns] for row in rows.values()]
    height = (len(cells) + 1) / TABLE_ROWS
    box = Bbox.from_bounds(0, 1 - height, 1, height)
    table = axes.table(cells, colLabels=[names.get(c, c) for c in columns], cellLoc="left", bbox=box)
    table.auto_set_font_size(False)
    for cell in table.get_celld().values():
        cell.set(facecolor=PANEL, edgecolor=GRID)
        cell.get_text().set_color(INK)
    _without_ticks(axes)


def _cell(panel: dict[str, Any], title: str, value: float) -> str:
    """Format a value according to the panel's overrides for its column."""
    override = {
        setting["id"]: setting["value"]
        for one in panel["fieldConfig"]["overrides"]
        if one["matcher"]["options"] == title
        for setting in one["properties"]
    }
    if "mappings" in override:
        return str(override["mappings"][0]["options"][f"{value:g}"]["text"])
    return f"{value:,.2f} s" if override.get("unit") == "s" else f"{value:,.0f}"


def _lines(axes: Axes, panel: dict[str, Any], results: list[Series], start: float) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    factor, suffix = UNITS[defaults["unit"]]
    lines = [
        (_legend(target["legendFormat"], series["metric"]), _points(series, factor, start))
        for target, result in zip(panel["targets"], results, strict=True)
        for series in result
    ]
    if defaults["custom"]["stacking"]["mode"] == "normal":
        _stack(axes, lines)
    else:
        for index, (legend, points) in enumerate(lines):
            axes.plot(*zip(*points, strict=True), label=legend, color=COLORS[index % len(COLORS)], linewidth=1.1)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer="decimals" in defaults))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{suffix}"))
    axes.margins(x=0.01, y=0.12)
    axes.set_ylim(bottom=0)
    axes.tick_params(colors=INK, length=0)
    axes.grid(visible=True, color=GRID, linewidth=0.6)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
    _frame(axes)
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, -0.12), ncols=4, frameon=False, labelcolor=INK, handlelength=1.2
    )


def _stack(axes: Axes, lines: list[tuple[str, list[tuple[float, float]]]]) -> None:
    times = sorted({moment for _, points in lines for moment, _ in points})
    values = [[dict(points).get(moment, 0.0) for moment in times] for _, points in lines]
    axes.stackplot(times, values, labels=[legend for legend, _ in lines], colors=COLORS, alpha=0.7)


def _points(series: dict[str, Any], factor: float, start: float) -> list[tuple[float, float]]:
    return [(moment - start, factor * float(value)) for moment, value in series["values"]]


def _legend(pattern: str, labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), pattern).strip()


def _without_ticks(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    _frame(axes)


def _frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_color(GRID)
