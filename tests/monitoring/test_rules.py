"""The Prometheus rules: promtool's own unit tests, and that each alert has some, words and a runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.files import OPERATIONS, RULES, alerts, anchors
from tests.support.programs import collectable, program

CASES = sorted(Path(__file__).with_name("rules").glob("*.yaml"))
SEVERITIES = {"critical", "warning"}


@pytest.mark.skipif(not collectable("promtool"), reason="promtool is not installed")
def test_promtool_accepts_the_rules() -> None:
    """`promtool check rules` finds nothing to complain of."""
    promtool("check", "rules", str(RULES))


@pytest.mark.skipif(not collectable("promtool"), reason="promtool is not installed")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_alerts_fire_when_they_should(case: Path) -> None:
    """`promtool test rules`: each alert fires on what it is for, and stays silent on what only looks like it."""
    promtool("test", "rules", str(case))


@pytest.mark.skipif(not collectable("promtool"), reason="promtool is not installed")
def test_the_scrape_configuration_in_the_documents(tmp_path: Path) -> None:
    """`promtool check config` accepts what operations.md shows for a Prometheus without the operator."""
    [shown] = re.findall(r"```yaml\n(scrape_configs:\n.*?)```", OPERATIONS.read_text(), re.DOTALL)
    # Debian's promtool knows no Kubernetes.
    (tmp_path / "prometheus.yml").write_text(
        shown.replace("kubernetes_sd_configs: [{role: pod}]", "static_configs: []")
    )
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


def promtool(*arguments: str) -> None:
    """Run promtool, which must find nothing."""
    ran = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tested_both_ways() -> None:
    """Each alert has a case in which it fires, and an earlier or another one in which it does not."""
    fires: set[str] = set()
    silent: set[str] = set()
    for expectation in expectations():
        named = re.search(r'alertname="(\w+)"', expectation["expr"])
        if named:
            (fires if expectation["exp_samples"] else silent).add(named[1])
    assert fires >= {alert["alert"] for alert in alerts()}
    assert silent >= {alert["alert"] for alert in alerts()}


def expectations() -> list[dict[str, Any]]:
    """What the cases expect of expressions."""
    cases = [yaml.safe_load(case.read_text()) for case in CASES]
    return [expected for case in cases for test in case["tests"] for expected in test.get("promql_expr_test", [])]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_every_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    """An alert has a severity, a summary, a description, and a runbook that exists and has its name."""
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in SEVERITIES
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    file, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert (file, anchor) == ("docs/operations.md", alert["alert"].lower())
    assert anchor in anchors(OPERATIONS)


def test_no_rule_makes_a_number_of_what_is_not_known() -> None:
    """No rule fills in for an absent series: `or vector(0)` and the like would call unknown 0."""
    assert not re.search(r"\bvector\s*\(", RULES.read_text())
