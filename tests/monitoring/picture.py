"""`python -m tests.monitoring.picture OUT.png`: draw the dashboard of a running app, with data from a real Prometheus.

It needs no Grafana: it runs the queries of the dashboard file in Prometheus and draws the panels in the file's layout.
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.monitoring.drawing import Drawing
from tests.monitoring.expressions import substitute, variables_for
from tests.monitoring.files import dashboard
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.stage import TRIGGERS, Stage, running_stage
from tests.support.waiting import eventually

#: Bursts in addition to the steady load: the number of orders and payments, and the seconds to wait after each burst.
BURSTS = ((20, 12.0), (600, 14.0), (1_500, 30.0))
ONE_TRIGGER_ROW = "One trigger"

Series = list[dict[str, Any]]


@dataclass(frozen=True)
class Span:
    """The time range that the panels show, in seconds since the epoch."""

    start: float
    end: float


async def main(picture: Path) -> None:
    """Produce load, then draw every panel."""
    async with running_stage() as stage:
        span = await produce_load(stage)
        await draw(stage.prometheus, span, picture)


async def produce_load(stage: Stage) -> Span:
    """Produce the bursts while instances scale, and return the time range."""
    await eventually(lambda: stage.prometheus.query("triggerfish_lease_held == 1"))
    start = time.time()
    for burst, seconds in BURSTS:
        await stage.burst(burst)
        await asyncio.sleep(seconds)  # the panels show a time range, so there is no condition to wait for
    return Span(start, time.time())


async def draw(prometheus: Prometheus, span: Span, picture: Path) -> None:
    """Draw every panel. Each panel for one trigger shows the first function that has data."""
    drawing = Drawing(dashboard()["panels"], span.start)
    in_one_trigger_row = False
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            in_one_trigger_row = panel["title"].startswith(ONE_TRIGGER_ROW)
            drawing.row(panel)
            continue
        function, results = await first_with_data(prometheus, panel, span)
        drawing.panel(panel, results, function=function if in_one_trigger_row else None)
    drawing.save(picture)


async def first_with_data(prometheus: Prometheus, panel: dict[str, Any], span: Span) -> tuple[str, list[Series]]:
    """Return the first function for which the panel has data, and the results of its queries."""
    function, results = "", []
    for function in TRIGGERS:
        results = [await run_query(prometheus, target, span, function) for target in panel["targets"]]
        if any(has_nonzero_value(series) for result in results for series in result):
            break
    return function, results


def has_nonzero_value(series: dict[str, Any]) -> bool:
    """Return whether a series has a number other than 0."""
    values = [value for _, value in series.get("values", [series.get("value", (0, "NaN"))])]
    return any(value not in {"NaN", "0"} for value in values)


async def run_query(prometheus: Prometheus, target: dict[str, Any], span: Span, function: str) -> Series:
    """Return the result of a panel's query: an instant query now, or a range query over the span."""
    expression = substitute(target["expr"], variables_for(function))
    if target.get("instant"):
        return await prometheus.query(expression)
    return await prometheus.query_range(expression, span.start, span.end, 1)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
