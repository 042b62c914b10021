"""The chart's Prometheus rules and Grafana dashboard, and the documentation of the alerts."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

__all__ = ["DASHBOARD", "OPERATIONS", "ROOT", "RULES", "alerts", "anchors", "dashboard", "panels", "rules"]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/triggerfish"
RULES = CHART / "rules/triggerfish.yaml"
DASHBOARD = CHART / "dashboards/triggerfish.json"
OPERATIONS = ROOT / "docs/how-to/operations.md"


def rules() -> list[dict[str, Any]]:
    """Return all rules, in order."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return the alerting rules."""
    return [rule for rule in rules() if "alert" in rule]


def dashboard() -> dict[str, Any]:
    """Return the Grafana dashboard."""
    content: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return content


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's panels, without rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub generates them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
