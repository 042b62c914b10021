"""`python -m tests.monitoring.picture OUT.png`: the dashboard while an app works, drawn from a real Prometheus.

No Grafana is needed: the panels of the dashboard's file are asked of a Prometheus and drawn where the file places them.
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.monitoring.drawing import Drawing
from tests.monitoring.expressions import filled_in, variables_of
from tests.monitoring.files import dashboard
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.stage import TRIGGERS, Stage, running_stage
from tests.support.waiting import eventually

#: What is played beside steady work: bursts of so many orders and payments, and the seconds after each.
PLAY = ((20, 12.0), (600, 14.0), (1_500, 30.0))
ONE_TRIGGER_ROW = "One trigger"

Series = list[dict[str, Any]]


@dataclass(frozen=True)
class Span:
    """The time that the panels show, in seconds since the epoch."""

    start: float
    end: float


async def main(picture: Path) -> None:
    """Play, then draw every panel."""
    async with running_stage() as stage:
        span = await play(stage)
        await draw(stage.prometheus, span, picture)


async def play(stage: Stage) -> Span:
    """Let bursts come, and instances follow."""
    await eventually(lambda: stage.prometheus.query("triggerfish_lease_held == 1"))
    start = time.time()
    for burst, seconds in PLAY:
        await stage.burst(burst)
        await asyncio.sleep(seconds)  # what is shown is what happens over time
    return Span(start, time.time())


async def draw(prometheus: Prometheus, span: Span, picture: Path) -> None:
    """Every panel, at its place; those of one trigger for the first that has something to show there."""
    drawing = Drawing(dashboard()["panels"], span.start)
    of_one = False
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            of_one = panel["title"].startswith(ONE_TRIGGER_ROW)
            drawing.row(panel)
            continue
        function, answers = await first_with_data(prometheus, panel, span)
        drawing.panel(panel, answers, of=function if of_one else None)
    drawing.save(picture)


async def first_with_data(prometheus: Prometheus, panel: dict[str, Any], span: Span) -> tuple[str, list[Series]]:
    """The first function for which the panel shows something, and the answers to its queries."""
    function, answers = "", []
    for function in TRIGGERS:
        answers = [await ask(prometheus, target, span, function) for target in panel["targets"]]
        if any(drawn(series) for answer in answers for series in answer):
            break
    return function, answers


def drawn(series: dict[str, Any]) -> bool:
    """Whether a series has a number, and not only 0."""
    values = [value for _, value in series.get("values", [series.get("value", (0, "NaN"))])]
    return any(value not in {"NaN", "0"} for value in values)


async def ask(prometheus: Prometheus, target: dict[str, Any], span: Span, function: str) -> Series:
    """The answer to one query of a panel: now, or over the time shown."""
    expression = filled_in(target["expr"], variables_of(function))
    if target.get("instant"):
        return await prometheus.query(expression)
    return await prometheus.query_range(expression, span.start, span.end, 1)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
