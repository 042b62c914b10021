"""Valid values that templates easily get wrong."""

import pytest
import yaml

from listeners.settings import HostSettings
from tests.charts.rendering import Refused, chart_values, merged, render
from tests.support.schemas import problems


@pytest.mark.parametrize("name", ["123", "1e3", "true", "null"])
def test_a_name_that_looks_like_another_type_stays_a_name(name: str) -> None:
    """Names of apps, Secrets, connections, accounts and namespaces may look like YAML numbers, booleans or null."""
    app = chart_values("one-app")["apps"]["shop"]
    order = {"type": "RedisListTrigger", "connection": name, "keys": "orders"}
    values = {
        "namespaceOverride": name,
        "connection": {"secretName": name},
        "connections": {name: {"secretName": name}},
        "networkPolicy": {"kedaNamespace": name, "monitoringNamespace": name},
        "tls": {"enabled": True, "mutual": True, "secretName": name, "clientSecretName": name},
        "apps": {name: {**app, "triggers": {"f": order}, "pubsubLease": "kubernetes", "priorityClassName": name}},
    }
    rendered = render(values)
    assert not [problem for manifest in rendered.manifests for problem in problems(manifest)]
    assert {m["metadata"]["namespace"] for m in rendered.manifests} == {name}
    assert rendered.one("Deployment", name)["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == name


def test_large_numbers_stay_whole_numbers() -> None:
    """Half a gigabyte is not rendered as text or as a fraction, which the app rejects."""
    override = {"apps": {"shop": {"settings": {"max_model_bytes": 536_870_912}}}}
    rendered = render(merged(chart_values("one-app"), override))
    host = yaml.safe_load(rendered.one("ConfigMap", "shop")["data"]["config.yaml"])["host"]
    assert HostSettings(max_model_bytes=host["max_model_bytes"]).max_model_bytes == 536_870_912


def test_duplicate_labels_are_merged() -> None:
    """The chart's labels override a monitor's labels, and both override common labels; each key occurs once."""
    labels = {"release": "kps", "helm.sh/chart": "mine", "app.kubernetes.io/name": "mine"}
    common = {"release": "common", "app.kubernetes.io/managed-by": "mine", "app.kubernetes.io/component": "mine"}
    rendered = render(merged(chart_values("monitoring"), {"commonLabels": common, "monitoring": {"labels": labels}}))
    for kind in ("ServiceMonitor", "PodMonitor"):
        found = rendered.one(kind)["metadata"]["labels"]
        assert (found["release"], found["app.kubernetes.io/name"]) == ("kps", "triggerfish")
        assert (found["helm.sh/chart"], found["app.kubernetes.io/managed-by"]) == ("triggerfish-0.1.0", "Helm")


@pytest.mark.parametrize("key", ["connection", "connections", "commonLabels"])
def test_a_null_value_means_empty(key: str) -> None:
    """If everything under a key is commented out, Helm drops the key's default; the chart treats it as empty."""
    assert render({**chart_values("default"), key: None}).one("Deployment")


def test_a_connection_string_in_place_of_a_name_is_not_shown() -> None:
    """It may contain a password, so the error message gives the fix and not the value."""
    trigger = {"connection": "cache.example:6380,password=hunter2"}
    with pytest.raises(Refused, match="Put a connection string into a Secret") as refused:
        render(merged(chart_values("one-app"), {"apps": {"shop": {"triggers": {"handle_order": trigger}}}}))
    assert "hunter2" not in str(refused.value)
