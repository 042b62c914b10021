"""The Prometheus rules: promtool's unit tests, and each alert's tests, annotations and runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.files import OPERATIONS, RULES, alerts, anchors
from tests.support.programs.installed import collectable, program

CASES = sorted(Path(__file__).with_name("rules").glob("*.yaml"))
SEVERITIES = {"critical", "warning"}


@pytest.mark.skipif(not collectable("promtool"), reason="promtool is not installed")
def test_promtool_accepts_the_rules() -> None:
    """`promtool check rules` reports no problems."""
    promtool("check", "rules", str(RULES))


@pytest.mark.skipif(not collectable("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_alerts_fire_when_they_should(case: Path) -> None:
    """`promtool test rules`: each alert fires in its own case, and stays silent in similar ones."""
    promtool("test", "rules", str(case))


@pytest.mark.skipif(not collectable("promtool"), reason="promtool is not installed")
def test_the_documented_scrape_configuration_is_valid(tmp_path: Path) -> None:
    """`promtool check config` accepts the scrape configuration in operations.md."""
    [configuration] = re.findall(r"```yaml\n(scrape_configs:\n.*?)```", OPERATIONS.read_text(), re.DOTALL)
    # Debian's promtool is built without Kubernetes service discovery.
    (tmp_path / "prometheus.yml").write_text(
        configuration.replace("kubernetes_sd_configs: [{role: pod}]", "static_configs: []")
    )
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


def promtool(*arguments: str) -> None:
    """Run promtool, which must succeed."""
    command = [program("promtool"), *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 0, process.stdout + process.stderr


def test_every_alert_is_tested_both_ways() -> None:
    """Each alert has an expectation that it fires, and one that it does not."""
    fires: set[str] = set()
    silent: set[str] = set()
    for expectation in expectations():
        alert = re.search(r'alertname="(\w+)"', expectation["expr"])
        if alert:
            (fires if expectation["exp_samples"] else silent).add(alert[1])
    assert fires >= {alert["alert"] for alert in alerts()}
    assert silent >= {alert["alert"] for alert in alerts()}


def expectations() -> list[dict[str, Any]]:
    """Return the expectations for expressions from all cases."""
    cases = [yaml.safe_load(case.read_text()) for case in CASES]
    return [expected for case in cases for test in case["tests"] for expected in test.get("promql_expr_test", [])]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_has_annotations_and_a_runbook(alert: dict[str, Any]) -> None:
    """An alert has a severity, a summary, a description, and an existing runbook named after it."""
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in SEVERITIES
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    file, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert (file, anchor) == ("docs/how-to/operations.md", alert["alert"].lower())
    assert anchor in anchors(OPERATIONS)


def test_no_rule_treats_an_unknown_value_as_a_number() -> None:
    """No rule has a default for an absent series: `or vector(0)` would report an unknown value as 0."""
    assert not re.search(r"\bvector\s*\(", RULES.read_text())
