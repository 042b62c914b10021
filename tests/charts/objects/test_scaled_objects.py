"""Properties of the ScaledObjects, and of what scales by them."""

import kubernetes_validate
import pytest

from scaler.triggers.metadata import read_metadata
from tests.charts.rendering import CI_VALUES, chart_values, merged, render, render_ci
from tests.support.schemas import KUBERNETES

SCALER = "triggerfish-scaler"


@pytest.mark.parametrize("name", CI_VALUES)
def test_scaled_objects_are_ordinary_objects(name: str) -> None:
    """They are no hooks, which Helm does not remove. Argo CD applies them after the scaler."""
    for scaled_object in render_ci(name).of("ScaledObject"):
        annotations = scaled_object["metadata"]["annotations"]
        assert annotations["argocd.argoproj.io/sync-wave"] == "1"
        assert not any(key.startswith("helm.sh/") for key in annotations)


def test_keda_owns_the_replicas_of_an_app_that_scales() -> None:
    """Apps with lists or streams have a ScaledObject and no `replicas`. A pub/sub-only app has one replica and no
    ScaledObject.
    """
    rendered = render_ci("mixed")
    replicas = {d["metadata"]["name"]: d["spec"].get("replicas") for d in rendered.of("Deployment")}
    assert replicas == {SCALER: 2, "shop": None, "reports": None, "audit": 1}
    limits = {s["metadata"]["name"]: (s["spec"]["minReplicaCount"], s["spec"]["maxReplicaCount"])
              for s in rendered.of("ScaledObject")}  # fmt: skip
    assert limits == {"shop": (1, 20), "reports": (0, 100)}


def test_the_hpa_scales_up_immediately_and_down_slowly() -> None:
    """Scale-up has no stabilization and adds 100 % or 20 pods per 15 s. Scale-down stabilizes for 300 s. The metric
    type is AverageValue.
    """
    spec = render_ci("one-app").one("ScaledObject")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert [(p["type"], p["value"], p["periodSeconds"]) for p in behavior["scaleUp"]["policies"]] == [
        ("Percent", 100, 15),
        ("Pods", 20, 15),
    ]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300
    assert {(trigger["type"], trigger["metricType"]) for trigger in spec["triggers"]} == {
        ("external-push", "AverageValue")
    }
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 2}


@pytest.mark.parametrize(
    ("keda", "kubernetes", "tolerances"),
    [
        ("2.20.2", "1.35.0", ("0", "0")),
        ("v2.21.0", "1.36.3-gke.1", ("0", "0")),
        ("2.20.1", "1.36.0", (None, None)),
        ("2.21.0", "1.34.9", (None, None)),
        ("", "1.36.0", (None, None)),
    ],
)
def test_the_hpa_follows_the_target_exactly(keda: str, kubernetes: str, tolerances: tuple[str | None, ...]) -> None:
    """Without a tolerance of its own an HPA ignores differences of 10 %, from ten replicas on. Where Kubernetes or KEDA
    do not know the field, it is left out.
    """
    values = {**chart_values("one-app"), "keda": {"version": keda, "allowOlder": True}}
    spec = render(values, kube_version=kubernetes).one("ScaledObject")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert tuple(behavior[direction].get("tolerance") for direction in ("scaleUp", "scaleDown")) == tolerances
    kubernetes_validate.validate(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "keda-hpa-shop"},
            "spec": {"maxReplicas": 1, "scaleTargetRef": {"kind": "Deployment", "name": "shop"}, "behavior": behavior},
        },
        KUBERNETES[1],
        strict=True,
    )


def test_the_tolerance_is_a_value() -> None:
    """`scaling.tolerance` applies to both directions, and `behavior` takes precedence."""
    scaling = {"tolerance": 0.05, "behavior": {"scaleDown": {"tolerance": "0.2"}}}
    values = merged(chart_values("one-app"), {"keda": {"version": "2.21.0"}, "apps": {"shop": {"scaling": scaling}}})
    spec = render(values, kube_version="1.36.0").one("ScaledObject")["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert (behavior["scaleUp"]["tolerance"], behavior["scaleDown"]["tolerance"]) == ("0.05", "0.2")
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300


@pytest.mark.parametrize("name", CI_VALUES)
def test_the_scaler_understands_all_metadata(name: str) -> None:
    """All metadata in ScaledObjects is text, and the scaler can parse it."""
    rendered = render_ci(name)
    for scaled_object in rendered.of("ScaledObject"):
        for trigger in scaled_object["spec"]["triggers"]:
            assert all(isinstance(value, str) for value in trigger["metadata"].values())
            read_metadata(trigger["metadata"])


def test_values_of_all_types_become_equivalent_metadata() -> None:
    """Lists, large numbers, fractions and booleans are converted to text without loss."""
    triggers = {t["metadata"]["function"]: t["metadata"] for name in ("mixed", "one-app", "everything")
                for s in render_ci(name).of("ScaledObject") for t in s["spec"]["triggers"]}  # fmt: skip
    assert (triggers["write"]["messagesPerWorker"], triggers["write"]["callTimeoutSeconds"]) == ("1500000", "0.5")
    assert render_ci("one-app").one("ScaledObject")["spec"]["triggers"][1]["metadata"]["keys"] == ("payments refunds")
    assert triggers["handle_order"]["listPopFromBeginning"] == "false"
    assert triggers["write"]["maxInstances"] == "100"


def test_apps_can_use_the_scaler_of_another_release() -> None:
    """A release without a scaler has apps whose ScaledObjects have the other scaler's address and TLS settings."""
    rendered = render_ci("apps-only")
    assert [d["metadata"]["name"] for d in rendered.of("Deployment")] == ["shop"]
    assert not rendered.of("Service")
    metadata = rendered.one("ScaledObject")["spec"]["triggers"][0]["metadata"]
    assert (metadata["scalerAddress"], metadata["enableTLS"]) == ("triggerfish-scaler.triggerfish.svc:6000", "true")
