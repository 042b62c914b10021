"""The dashboard and the rules in a real Prometheus that scrapes a scaler and an app's instances at work."""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from PIL import Image

from charts.dashboard.layout import dashboard_json
from tests.monitoring.expressions import (
    filled_in,
    metric_names,
    of_dashboard,
    of_rules,
    selectors,
    variables_of,
)
from tests.monitoring.files import DASHBOARD, ROOT, dashboard, panels
from tests.monitoring.picture import Span, draw
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.stage import ONLY_DECLARED, TRIGGERS, Stage, running_stage
from tests.support.programs import collectable
from tests.support.waiting import eventually

PICTURE = ROOT / "docs/dashboard.png"
#: Rules without a time to wait, of which the stage has the condition.
FIRES_AT_ONCE = {"TriggerfishDeadLetters"}


def test_the_dashboard_is_what_its_code_makes() -> None:
    """The file in the chart is up to date; `make dashboard` writes it."""
    assert DASHBOARD.read_text() == dashboard_json()


def test_the_dashboard_names_no_data_source_of_its_own() -> None:
    """Whoever imports it chooses the Prometheus; every query goes there."""
    assert set(re.findall(r'"uid": "([^"]*)"', DASHBOARD.read_text())) == {"${datasource}", "triggerfish"}


def test_every_panel_has_a_name_of_its_own() -> None:
    """No two panels have one title, and each says what it shows."""
    shown = panels()
    assert len({panel["title"] for panel in shown}) == len(shown) > 20
    assert all(panel["description"] for panel in shown)


def test_the_choice_of_a_trigger_shows_functions() -> None:
    """A trigger, whose own name is a hash, is chosen by its function, or by its name if it has none."""
    [variable] = [one for one in dashboard()["templating"]["list"] if one["name"] == "trigger"]
    pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    for labels, shown in (
        ('function="settle",kind="stream",namespace="shop",scaledobject="shop",trigger="t-1"', "settle"),
        ('kind="stream",namespace="shop",scaledobject="shop",trigger="t-1"', None),
    ):
        found = pattern.search(f"triggerfish_trigger_known{{{labels}}} 1 1700000000000")
        assert found is not None
        assert (found["text"], found["value"]) == (shown, "t-1")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A scaler, an app's instances and a Prometheus."""
    async with running_stage() as running:
        await running.burst(200)
        yield running


@pytest.mark.timeout(240)
@pytest.mark.skipif(not collectable("prometheus"), reason="prometheus is not installed")
async def test_every_query_has_data(stage: Stage, tmp_path: Path) -> None:
    """Every query of the dashboard has values for some trigger; the rules are evaluated without an error, their series
    exist, and of the alerts fires what should.
    """
    queries = of_dashboard()
    await none_left(lambda: without_data(stage.prometheus, queries))
    await none_left(lambda: rules_that_are_ill(stage.prometheus))
    await none_left(lambda: series_that_are_missing(stage.prometheus))
    assert set(await stage.prometheus.get("label/__name__/values")) >= named()
    of_one_namespace = filled_in(of_dashboard()["Triggers A"], variables_of("settle"))
    for query, functions in (
        ("trigger:triggerfish_known:max", [*TRIGGERS, *ONLY_DECLARED]),
        (of_one_namespace, [*TRIGGERS]),
    ):
        told = [series["metric"]["function"] for series in await stage.prometheus.query(query)]
        assert sorted(told) == sorted(functions), "declared and asked about is told once"
    await none_left(lambda: alerts_that_should_not_be(stage.prometheus))
    await picture_of(stage.prometheus, tmp_path / "dashboard.png")


async def picture_of(prometheus: Prometheus, path: Path) -> None:
    """A picture of the dashboard now, which must be one that a document can show."""
    now = time.time()
    await draw(prometheus, Span(now - 5, now), path)
    with Image.open(path) as picture:
        assert picture.size[0] > 1_000
    assert max(path.stat().st_size, PICTURE.stat().st_size) < 300_000


async def none_left(found: Callable[[], Awaitable[list[str]]]) -> None:
    """Wait until nothing is found any more. AssertionError with what is found still."""
    left: list[str] = []

    async def none() -> bool:
        left[:] = await found()
        return not left

    try:
        await eventually(none, seconds=60)  # processes start slowly beside other tests
    except AssertionError:
        raise AssertionError(f"still: {left}") from None


async def without_data(prometheus: Prometheus, queries: dict[str, str]) -> list[str]:
    """The queries that have had no number yet for any of the triggers; the others are taken out of `queries`."""
    for name, expression in list(queries.items()):
        if await has_data(prometheus, expression):
            del queries[name]
    return list(queries)


async def has_data(prometheus: Prometheus, expression: str) -> bool:
    """Whether a query has a number; NaN is what a quotient of nothing gives."""
    asked = {filled_in(expression, variables_of(function)) for function in TRIGGERS}
    answers = await asyncio.gather(*map(prometheus.query, asked))
    return any(not math.isnan(float(series["value"][1])) for answer in answers for series in answer)


async def rules_that_are_ill(prometheus: Prometheus) -> list[str]:
    """The rules that Prometheus could not evaluate, and why."""
    groups = (await prometheus.get("rules"))["groups"]
    assert sum(len(group["rules"]) for group in groups) == len(of_rules())
    listed = [rule for group in groups for rule in group["rules"]]
    return [f"{rule['name']}: {rule.get('lastError')}" for rule in listed if rule["health"] != "ok"]


async def series_that_are_missing(prometheus: Prometheus) -> list[str]:
    """What the rules read, recorded series among it, and is not there."""
    read = {selector for expression in of_rules().values() for selector in selectors(expression)}
    return [selector for selector in sorted(read) if not await prometheus.query(selector)]


def named() -> set[str]:
    """All metrics that the rules and the dashboard name."""
    expressions = (*of_rules().values(), *(filled_in(one, variables_of("settle")) for one in of_dashboard().values()))
    return set().union(*map(metric_names, expressions))


async def alerts_that_should_not_be(prometheus: Prometheus) -> list[str]:
    """Alerts that fire though all is well, or do not though they should."""
    firing = await prometheus.query('ALERTS{alertstate="firing"}')
    return sorted({series["metric"]["alertname"] for series in firing} ^ FIRES_AT_ONCE)
