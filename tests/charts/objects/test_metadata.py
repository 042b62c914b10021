"""Names, labels and selectors, and what must not be in any object."""

import json
from typing import Any

import pytest

from tests.charts.rendering import CI_VALUES, Manifest, render_ci


def container(deployment: Manifest) -> dict[str, Any]:
    """Return the only container of a Deployment."""
    [only] = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


def test_all_names_are_configurable() -> None:
    """The full name, namespace and labels apply to every object, and the digest takes precedence over the tag."""
    rendered = render_ci("everything")
    assert {m["metadata"]["namespace"] for m in rendered.manifests} == {"sea"}
    assert rendered.one("Deployment", "reef-scaler")
    assert container(rendered.one("Deployment", "reef-scaler"))["image"].startswith(
        "registry.example/triggerfish@sha256:"
    )
    assert {m["metadata"]["labels"]["team"] for m in rendered.manifests} == {"platform"}


@pytest.mark.parametrize("name", CI_VALUES)
def test_selectors_are_minimal_and_select_their_own_pods_only(name: str) -> None:
    """A selector consists of three constant labels and matches the pods of exactly one Deployment."""
    rendered = render_ci(name)
    deployments = rendered.of("Deployment")
    labels = [deployment["spec"]["template"]["metadata"]["labels"] for deployment in deployments]
    for deployment in deployments:
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert selector.keys() == {f"app.kubernetes.io/{key}" for key in ("name", "instance", "component")}
        assert [selector.items() <= of.items() for of in labels].count(True) == 1
    for service in rendered.of("Service"):
        assert [service["spec"]["selector"].items() <= of.items() for of in labels].count(True) == 1


@pytest.mark.parametrize("name", CI_VALUES)
def test_no_object_contains_a_secret(name: str) -> None:
    """The chart creates no Secrets. No ConfigMap and no ScaledObject names an existing one."""
    rendered = render_ci(name)
    assert not rendered.of("Secret")
    assert "cache-redis" not in json.dumps(rendered.of("ConfigMap") + rendered.of("ScaledObject"))
