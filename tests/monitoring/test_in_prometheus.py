"""The dashboard and the rules in a real Prometheus that scrapes a running scaler and an app's running instances."""

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
    dashboard_queries,
    metric_names,
    rule_expressions,
    selectors,
    substitute,
    variables_for,
)
from tests.monitoring.files import DASHBOARD, ROOT, dashboard, panels
from tests.monitoring.picture import Span, draw
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.stage import ONLY_DECLARED, TRIGGERS, Stage, running_stage
from tests.support.programs.installed import collectable
from tests.support.waiting import eventually

PICTURE = ROOT / "docs/how-to/dashboard.png"
#: Alerts without `for` whose condition is true on the stage.
EXPECTED_ALERTS = {"TriggerfishDeadLetters"}


def test_the_dashboard_file_is_up_to_date() -> None:
    """The dashboard in the chart matches its code; `make dashboard` writes it."""
    assert DASHBOARD.read_text() == dashboard_json()


def test_the_dashboard_has_no_fixed_data_source() -> None:
    """Every query uses the Prometheus data source that the user selects."""
    assert set(re.findall(r'"uid": "([^"]*)"', DASHBOARD.read_text())) == {"${datasource}", "triggerfish"}


def test_every_panel_has_a_unique_title_and_a_description() -> None:
    """Panel titles are unique, and every panel has a description."""
    all_panels = panels()
    assert len({panel["title"] for panel in all_panels}) == len(all_panels) > 20
    assert all(panel["description"] for panel in all_panels)


def test_the_trigger_menu_shows_functions() -> None:
    """The menu shows a trigger's function instead of its name, which is a hash, or the name if it has no function."""
    [variable] = [one for one in dashboard()["templating"]["list"] if one["name"] == "trigger"]
    pattern = re.compile(variable["regex"].strip("/").replace("(?<", "(?P<"))
    for labels, text in (
        ('function="settle",kind="stream",namespace="shop",scaledobject="shop",trigger="t-1"', "settle"),
        ('kind="stream",namespace="shop",scaledobject="shop",trigger="t-1"', None),
    ):
        match = pattern.search(f"triggerfish_trigger_known{{{labels}}} 1 1700000000000")
        assert match is not None
        assert (match["text"], match["value"]) == (text, "t-1")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Run a scaler, an app's instances and a Prometheus."""
    async with running_stage() as running:
        await running.burst(200)
        yield running


@pytest.mark.timeout(240)
@pytest.mark.skipif(not collectable("prometheus"), reason="prometheus is not installed")
async def test_every_query_has_data(stage: Stage, tmp_path: Path) -> None:
    """Every query of the dashboard has values for some trigger. The rules are evaluated without errors, the series that
    they read exist, and exactly the expected alerts fire.
    """
    queries = dashboard_queries()
    await eventually_empty(lambda: queries_without_data(stage.prometheus, queries))
    await eventually_empty(lambda: failing_rules(stage.prometheus))
    await eventually_empty(lambda: missing_series(stage.prometheus))
    assert set(await stage.prometheus.get("label/__name__/values")) >= referenced_metrics()
    one_namespace = substitute(dashboard_queries()["Triggers A"], variables_for("settle"))
    for query, functions in (
        ("trigger:triggerfish_known:max", [*TRIGGERS, *ONLY_DECLARED]),
        (one_namespace, [*TRIGGERS]),
    ):
        reported = [series["metric"]["function"] for series in await stage.prometheus.query(query)]
        assert sorted(reported) == sorted(functions), "a trigger that is declared and polled is reported once"
    await eventually_empty(lambda: unexpected_alerts(stage.prometheus))
    await check_picture(stage.prometheus, tmp_path / "dashboard.png")


async def check_picture(prometheus: Prometheus, path: Path) -> None:
    """Draw the dashboard and check that the picture, and the one in the docs, are of a suitable size."""
    now = time.time()
    await draw(prometheus, Span(now - 5, now), path)
    with Image.open(path) as picture:
        assert picture.size[0] > 1_000
    assert max(path.stat().st_size, PICTURE.stat().st_size) < 300_000


async def eventually_empty(find: Callable[[], Awaitable[list[str]]]) -> None:
    """Wait until `find` returns an empty list. Raises AssertionError with the remaining items."""
    remaining: list[str] = []

    async def is_empty() -> bool:
        remaining[:] = await find()
        return not remaining

    try:
        await eventually(is_empty, seconds=60)  # processes start slowly while other tests run
    except AssertionError:
        raise AssertionError(f"remaining: {remaining}") from None


async def queries_without_data(prometheus: Prometheus, queries: dict[str, str]) -> list[str]:
    """Remove the queries that have data for some trigger from `queries`, and return the names of the rest."""
    for name, expression in list(queries.items()):
        if await has_data(prometheus, expression):
            del queries[name]
    return list(queries)


async def has_data(prometheus: Prometheus, expression: str) -> bool:
    """Return whether a query has a number for some trigger. NaN, the result of 0 / 0, does not count."""
    expressions = {substitute(expression, variables_for(function)) for function in TRIGGERS}
    results = await asyncio.gather(*map(prometheus.query, expressions))
    return any(not math.isnan(float(series["value"][1])) for result in results for series in result)


async def failing_rules(prometheus: Prometheus) -> list[str]:
    """Return the rules that Prometheus could not evaluate, with the error."""
    groups = (await prometheus.get("rules"))["groups"]
    assert sum(len(group["rules"]) for group in groups) == len(rule_expressions())
    rules = [rule for group in groups for rule in group["rules"]]
    return [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]


async def missing_series(prometheus: Prometheus) -> list[str]:
    """Return the selectors of the rules, including those of recorded series, that match nothing."""
    read = {selector for expression in rule_expressions().values() for selector in selectors(expression)}
    return [selector for selector in sorted(read) if not await prometheus.query(selector)]


def referenced_metrics() -> set[str]:
    """Return the names of all metrics that the rules and the dashboard read."""
    queries = (substitute(query, variables_for("settle")) for query in dashboard_queries().values())
    return set().union(*map(metric_names, (*rule_expressions().values(), *queries)))


async def unexpected_alerts(prometheus: Prometheus) -> list[str]:
    """Return the alerts that fire and should not, and those that should fire and do not."""
    firing = await prometheus.query('ALERTS{alertstate="firing"}')
    return sorted({series["metric"]["alertname"] for series in firing} ^ EXPECTED_ALERTS)
