"""Properties of the objects that the chart renders."""

import json
from typing import Any

import kubernetes_validate
import pytest
import yaml

from listeners.leases.kubernetes_lease import lease_name
from scaler.triggers.metadata import read_metadata
from tests.charts.rendering import CI_VALUES, Manifest, Rendered, chart_values, is_test, merged, render, render_ci
from tests.support.schemas import KUBERNETES

SCALER = "triggerfish-scaler"


def pods(rendered: Rendered) -> list[Manifest]:
    """Return the specs of all pods, including those of `helm test`."""
    found = [m["spec"] if m["kind"] == "Pod" else m["spec"].get("template", {}).get("spec") for m in rendered.manifests
             if m["kind"] in {"Pod", "Deployment"}]  # fmt: skip
    assert found
    return found


def container(deployment: Manifest) -> dict[str, Any]:
    """Return the only container of a Deployment."""
    [only] = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


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


@pytest.mark.parametrize("name", CI_VALUES)
def test_no_object_contains_a_secret(name: str) -> None:
    """The chart creates no Secrets. No ConfigMap and no ScaledObject names an existing one."""
    rendered = render_ci(name)
    assert not rendered.of("Secret")
    assert "cache-redis" not in json.dumps(rendered.of("ConfigMap") + rendered.of("ScaledObject"))


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


@pytest.mark.parametrize("name", CI_VALUES)
def test_service_links_are_disabled(name: str) -> None:
    """Otherwise the environment variables of a Service named triggerfish-... would be read as settings."""
    assert {pod["enableServiceLinks"] for pod in pods(render_ci(name))} == {False}


def test_the_scaler_declares_the_triggers_of_all_apps() -> None:
    """The settings include triggers of apps without a ScaledObject, so the metrics are complete."""
    settings = yaml.safe_load(render_ci("mixed").one("ConfigMap", SCALER)["data"]["config.yaml"])
    assert settings["triggers"].keys() == {
        "shop.handle_order", "shop.settle", "shop.forget", "reports.write", "audit.record"
    }  # fmt: skip
    assert settings["triggers"]["reports.write"]["app"] == "report-writer"


def test_an_app_gets_only_the_connections_that_it_uses() -> None:
    """The scaler mounts all connections; an app mounts those of its triggers."""
    rendered = render_ci("mixed")

    def files(name: str) -> set[str]:
        volumes = rendered.one("Deployment", name)["spec"]["template"]["spec"]["volumes"]
        [connections] = [volume["projected"]["sources"] for volume in volumes if "projected" in volume]
        return {item["path"] for source in connections for item in source["secret"]["items"]}

    assert (files(SCALER), files("shop"), files("reports"), files("audit")) == (
        {"cache", "events"}, {"cache", "events"}, {"cache"}, {"events"}
    )  # fmt: skip


def test_a_pod_is_killed_only_after_its_grace_period() -> None:
    """terminationGracePeriodSeconds is the grace period, rounded up, plus 10 s."""
    rendered = render_ci("mixed")
    grace = {d["metadata"]["name"]: d["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
             for d in rendered.of("Deployment")}  # fmt: skip
    assert grace == {SCALER: 15, "shop": 35, "reports": 131, "audit": 35}


def test_the_network_policy_admits_keda_prometheus_and_the_test() -> None:
    """It admits gRPC from KEDA's namespace and the `helm test` pod, and HTTP from Prometheus' namespace. It lets the
    scaler reach DNS and Redis.
    """
    rendered = render_ci("everything")
    spec = rendered.one("NetworkPolicy", "reef-scaler")["spec"]
    grpc, http, _ = spec["ingress"]
    keda, test = grpc["from"]
    assert (grpc["ports"], keda) == (
        [{"port": "grpc"}],
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "autoscaling"}}},
    )
    tester = next(
        m for m in rendered.manifests if m["kind"] == "Pod" and is_test(m) and "scaler" in m["metadata"]["name"]
    )
    assert test["podSelector"]["matchLabels"].items() <= tester["metadata"]["labels"].items()
    assert http["from"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "observability"}
    dns, redis, peers, _ = spec["egress"]
    scalers = {"podSelector": spec["podSelector"]}
    assert (http["from"][1], peers) == (scalers, {"ports": [{"port": "http"}], "to": [scalers]})
    assert {port["port"] for port in dns["ports"]} == {53}
    assert (redis["ports"], redis["to"]) == ([{"port": 7000}], [{"ipBlock": {"cidr": "10.20.0.0/16"}}])


def test_scaler_pods_know_each_other() -> None:
    """The settings name a headless Service of all scaler pods, ready or not, with their HTTP port."""
    rendered = render_ci("everything")
    settings = yaml.safe_load(rendered.one("ConfigMap", "reef-scaler")["data"]["config.yaml"])
    service = rendered.one("Service", "reef-scaler-peers")
    assert settings["scaler"]["peers"] == "reef-scaler-peers.sea.svc:8080"
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert [port["port"] for port in service["spec"]["ports"]] == [8080]


def test_mutual_tls_is_configured_for_keda_and_the_scaler() -> None:
    """KEDA authenticates with its own certificate and calls an address that the scaler's certificate contains."""
    rendered = render_ci("mtls-cert-manager")
    trigger = rendered.one("ScaledObject")["spec"]["triggers"][0]
    authentication = rendered.one("TriggerAuthentication")
    assert trigger["authenticationRef"] == {"name": authentication["metadata"]["name"]}
    targets = authentication["spec"]["secretTargetRef"]
    assert {target["parameter"]: (target["name"], target["key"]) for target in targets} == {
        "caCert": ("triggerfish-scaler-client-tls", "ca.crt"),
        "tlsClientCert": ("triggerfish-scaler-client-tls", "tls.crt"),
        "tlsClientKey": ("triggerfish-scaler-client-tls", "tls.key"),
    }
    host = trigger["metadata"]["scalerAddress"].partition(":")[0]
    certificates = {c["spec"]["secretName"]: c["spec"] for c in rendered.of("Certificate")}
    assert host in certificates["triggerfish-scaler-tls"]["dnsNames"]
    assert "client auth" in certificates["triggerfish-scaler-client-tls"]["usages"]


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


def test_apps_can_use_the_scaler_of_another_release() -> None:
    """A release without a scaler has apps whose ScaledObjects have the other scaler's address and TLS settings."""
    rendered = render_ci("apps-only")
    assert [d["metadata"]["name"] for d in rendered.of("Deployment")] == ["shop"]
    assert not rendered.of("Service")
    metadata = rendered.one("ScaledObject")["spec"]["triggers"][0]["metadata"]
    assert (metadata["scalerAddress"], metadata["enableTLS"]) == ("triggerfish-scaler.triggerfish.svc:6000", "true")


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
def test_scaled_objects_are_ordinary_objects(name: str) -> None:
    """They are no hooks, which Helm does not remove. Argo CD applies them after the scaler."""
    for scaled_object in render_ci(name).of("ScaledObject"):
        annotations = scaled_object["metadata"]["annotations"]
        assert annotations["argocd.argoproj.io/sync-wave"] == "1"
        assert not any(key.startswith("helm.sh/") for key in annotations)


@pytest.mark.parametrize("name", CI_VALUES)
def test_pods_of_helm_test_stay_until_the_next_test(name: str) -> None:
    """Helm 3 reads their logs after it has deleted what has succeeded."""
    tests = [m for m in render_ci(name).manifests if is_test(m)]
    policies = {m["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for m in tests if m["kind"] == "Pod"}
    assert policies == {"before-hook-creation"}


def test_the_test_may_read_only_the_hpas_of_the_release() -> None:
    """Its Role names the HPAs that KEDA makes."""
    role = next(m for m in render_ci("mixed").manifests if m["kind"] == "Role" and is_test(m))
    [rule] = role["rules"]
    assert (rule["resources"], rule["verbs"]) == (["horizontalpodautoscalers"], ["get"])
    assert set(rule["resourceNames"]) >= {"keda-hpa-shop", "keda-hpa-reports"}


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


def test_a_secret_that_holds_only_a_password() -> None:
    """The address is in the settings, and the password a mounted file, in the scaler and in the app."""
    connection = {"address": "cache.example:6380,ssl=True,user=shop", "passwordSecret": "cache-password"}
    values = {**chart_values("one-app"), "connections": {"cache": connection, "other": {"secretName": "other-redis"}}}
    rendered = render(values)
    for name, volumes in ((SCALER, {"connections", "passwords"}), ("shop", {"passwords"})):
        settings = yaml.safe_load(rendered.one("ConfigMap", name)["data"]["config.yaml"])
        assert settings["connections"] == {
            "cache": {
                "connection_string": connection["address"], "password_file": "/etc/triggerfish/passwords/cache"
            }
        }  # fmt: skip
        pod = rendered.one("Deployment", name)["spec"]["template"]["spec"]
        projected = {v["name"]: v["projected"]["sources"] for v in pod["volumes"] if "projected" in v}
        assert (
            projected.keys() == volumes == {m["name"] for m in pod["containers"][0]["volumeMounts"]} & projected.keys()
        )
        secret = {"name": "cache-password", "items": [{"key": "password", "path": "cache"}]}
        assert projected["passwords"] == [{"secret": secret}]
