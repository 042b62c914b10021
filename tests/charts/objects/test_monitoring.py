"""Monitors, rules and dashboards."""

import json

from tests.charts.rendering import chart_values, merged, render, render_ci

SCALER = "triggerfish-scaler"


def test_monitors_select_what_they_scrape() -> None:
    """The ServiceMonitor selects the scaler's Service and honours its labels. The PodMonitor selects the apps' pods."""
    rendered = render_ci("monitoring")
    service, monitor = rendered.one("Service", SCALER), rendered.one("ServiceMonitor")
    selected = [monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
                for one in rendered.of("Service")]  # fmt: skip
    assert selected.count(True) == 1
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["honorLabels"] is True
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    pods_selected = rendered.one("PodMonitor")["spec"]["selector"]["matchLabels"].items()
    app, scaler = (rendered.one("Deployment", name)["spec"]["template"]["metadata"]["labels"].items()
                   for name in ("shop", SCALER))  # fmt: skip
    assert pods_selected <= app
    assert not pods_selected <= scaler


def test_rules_and_dashboards_are_installed_verbatim() -> None:
    """Helm does not evaluate the templates of Prometheus and Grafana in them."""
    rendered = render_ci("monitoring")
    rules = rendered.of("PrometheusRule")
    assert rules
    assert "{{ $labels" in json.dumps(rules)
    dashboards = [m for m in rendered.of("ConfigMap") if "grafana_dashboard" in m["metadata"]["labels"]]
    assert dashboards
    assert all(json.loads(text)["title"] for m in dashboards for text in m["data"].values())


def test_alerts_link_their_runbooks() -> None:
    """With the address of the page, each alert has a `runbook_url` instead of a path."""
    url = "https://docs.example/how-to/operations/"
    override = {"monitoring": {"rules": {"runbookUrl": url}}}
    rules = render(merged(chart_values("monitoring"), override)).of("PrometheusRule")
    alerts = [r for rule in rules for group in rule["spec"]["groups"] for r in group["rules"] if "alert" in r]
    assert alerts
    for alert in alerts:
        assert alert["annotations"]["runbook_url"] == f"{url}#{alert['alert'].lower()}"
        assert "runbook" not in alert["annotations"]
