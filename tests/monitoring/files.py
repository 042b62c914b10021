"""What is installed for monitoring, and the texts beside it."""

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
OPERATIONS = ROOT / "docs/operations.md"


def rules() -> list[dict[str, Any]]:
    """All rules, in order."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """The rules that alert."""
    return [rule for rule in rules() if "alert" in rule]


def dashboard() -> dict[str, Any]:
    """The Grafana dashboard."""
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels that show something; rows only divide it."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
