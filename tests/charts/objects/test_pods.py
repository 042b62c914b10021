"""Properties of all pods, and the rights of their service accounts."""

import json
from typing import Any

import pytest

from listeners.leases.kubernetes_lease import lease_name
from tests.charts.rendering import CI_VALUES, Manifest, Rendered, chart_values, is_test, merged, render, render_ci

SCALER = "triggerfish-scaler"


def pods(rendered: Rendered) -> list[Manifest]:
    """Return the specs of all pods, including those of `helm test`."""
    found = [m["spec"] if m["kind"] == "Pod" else m["spec"].get("template", {}).get("spec") for m in rendered.manifests
             if m["kind"] in {"Pod", "Deployment"}]  # fmt: skip
    assert found
    return found


@pytest.mark.parametrize("name", CI_VALUES)
def test_every_pod_is_restricted(name: str) -> None:
    """Pods and containers meet the Pod Security Standard "restricted", with read-only roots and memory limits."""
    for pod in pods(render_ci(name)):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} <= {
            "configMap", "secret", "projected", "emptyDir"
        }  # fmt: skip
        for each in pod["containers"]:
            context = each["securityContext"]
            assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert each["resources"]["limits"]["memory"]


def test_workers_of_other_libraries_run_no_command_of_ours() -> None:
    """Their image has no Triggerfish, so `helm test` has no pod for them."""
    rendered = render_ci("queues")
    tested = [each["metadata"]["name"] for each in rendered.manifests if each["kind"] == "Pod"]
    assert tested == [f"{SCALER}-test"]
    [mails] = [each for each in rendered.of("Deployment") if each["metadata"]["name"] == "mails"]
    assert "triggerfish" not in json.dumps(mails["spec"]["template"]["spec"]["containers"])


def test_annotations_of_pods() -> None:
    """They are added to the chart's own, which they do not replace."""
    own = {"podAnnotations": {"checksum/config": "x", "team": "shop"}}
    rendered = render(merged(chart_values("one-app"), {"scaler": own, "apps": {"shop": own}}))
    for deployment in rendered.of("Deployment"):
        annotations = deployment["spec"]["template"]["metadata"]["annotations"]
        assert annotations["team"] == "shop"
        assert len(annotations["checksum/config"]) == 64


@pytest.mark.parametrize("name", CI_VALUES)
def test_service_links_are_disabled(name: str) -> None:
    """Otherwise the environment variables of a Service named triggerfish-... would be read as settings."""
    assert {pod["enableServiceLinks"] for pod in pods(render_ci(name))} == {False}


def test_a_pod_is_killed_only_after_its_grace_period() -> None:
    """terminationGracePeriodSeconds is the grace period, rounded up, plus 10 s."""
    rendered = render_ci("mixed")
    grace = {d["metadata"]["name"]: d["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
             for d in rendered.of("Deployment")}  # fmt: skip
    assert grace == {SCALER: 15, "shop": 35, "reports": 131, "audit": 35}


@pytest.mark.parametrize("name", CI_VALUES)
def test_only_leases_in_kubernetes_add_a_token_and_a_role(name: str) -> None:
    """Only pods of apps with leases in Kubernetes, and the test that reads HPAs, have a service account token."""
    rendered = render_ci(name)
    [prober] = [p for p in pods(rendered) if p["containers"][0]["name"] == "probe"]
    assert prober["automountServiceAccountToken"] is bool(rendered.of("ScaledObject"))
    tokens = [pod["automountServiceAccountToken"] for pod in pods(rendered) if pod is not prober]
    leases = name == "kubernetes-leases"
    assert any(tokens) == leases
    rules = [rule["resources"] for role in rendered.of("Role") for rule in role["rules"]]
    assert rules == [["leases"], ["leases"]] * leases
    for account in rendered.of("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_an_app_without_pubsub_triggers_gets_no_role() -> None:
    """Leases in Kubernetes by default concern apps with pub/sub triggers. The others get no Role and no token."""
    rendered = render(merged(chart_values("one-app"), {"appDefaults": {"pubsubLease": "kubernetes"}}))
    assert not rendered.of("Role") + rendered.of("RoleBinding")
    shop = rendered.one("Deployment", "shop")["spec"]["template"]["spec"]
    check = rendered.one("Pod", "shop-test")["spec"]
    assert [pod["automountServiceAccountToken"] for pod in (shop, check)] == [False, False]


@pytest.mark.parametrize("app", ["", "Shop_1", "a" * 80])
def test_an_app_may_update_only_its_own_leases(app: str) -> None:
    """The Role names the Leases of the app's pub/sub functions. Only `create` cannot be limited to names."""
    functions = ("forget", "on_Message__2", "f" * 70)
    triggers = {function: {"type": "RedisPubSubTrigger", "channel": "c"} for function in functions}
    override = {"connection": {"secretName": "main"}, "apps": {"shop": {"name": app, "triggers": triggers}}}
    [role] = render(merged(chart_values("kubernetes-leases"), override)).of("Role")
    named, create = role["rules"]
    assert (named["verbs"], set(named["resourceNames"])) == (
        ["get", "update"], {lease_name(app or "shop", function) for function in functions}
    )  # fmt: skip
    assert (create["verbs"], "resourceNames" in create) == (["create"], False)


def test_the_test_may_read_only_the_hpas_of_the_release() -> None:
    """Its Role names the HPAs that KEDA makes."""
    role = next(m for m in render_ci("mixed").manifests if m["kind"] == "Role" and is_test(m))
    [rule] = role["rules"]
    assert (rule["resources"], rule["verbs"]) == (["horizontalpodautoscalers"], ["get"])
    assert set(rule["resourceNames"]) >= {"keda-hpa-shop", "keda-hpa-reports"}


@pytest.mark.parametrize("name", CI_VALUES)
def test_pods_of_helm_test_stay_until_the_next_test(name: str) -> None:
    """Helm 3 reads their logs after it has deleted what has succeeded."""
    tests = [m for m in render_ci(name).manifests if is_test(m)]
    policies = {m["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for m in tests if m["kind"] == "Pod"}
    assert policies == {"before-hook-creation"}


def test_an_upgrade_of_the_chart_alone_restarts_nothing() -> None:
    """Only the scaler's image contains the version; no pod's metadata does."""
    for deployment in render_ci("everything").of("Deployment"):
        template = deployment["spec"]["template"]
        assert "helm.sh/chart" not in template["metadata"]["labels"]
        assert "0.1.0" not in json.dumps(template["metadata"])


def test_a_changed_setting_restarts_only_the_pods_that_read_it() -> None:
    """The checksum annotation of a Deployment covers its own settings only."""
    values = chart_values("mixed")
    changed = merged(values, {"apps": {"shop": {"settings": {"lease_seconds": 45}}}})

    def templates(release: dict[str, Any]) -> dict[str, Any]:
        return {d["metadata"]["name"]: d["spec"]["template"] for d in render(release).of("Deployment")}

    before, after = templates(values), templates(changed)
    assert [name for name in before if before[name] != after[name]] == ["shop"]
