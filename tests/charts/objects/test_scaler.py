"""Properties of the scaler's settings, Services, certificates and NetworkPolicy."""

import yaml

from tests.charts.rendering import is_test, render_ci

SCALER = "triggerfish-scaler"


def test_the_scaler_declares_the_triggers_of_all_apps() -> None:
    """The settings include triggers of apps without a ScaledObject, so the metrics are complete."""
    settings = yaml.safe_load(render_ci("mixed").one("ConfigMap", SCALER)["data"]["config.yaml"])
    assert settings["triggers"].keys() == {
        "shop.handle_order", "shop.settle", "shop.forget", "reports.write", "audit.record"
    }  # fmt: skip
    assert settings["triggers"]["reports.write"]["app"] == "report-writer"


def test_scaler_pods_know_each_other() -> None:
    """The settings name a headless Service of all scaler pods, ready or not, with their HTTP port."""
    rendered = render_ci("everything")
    settings = yaml.safe_load(rendered.one("ConfigMap", "reef-scaler")["data"]["config.yaml"])
    service = rendered.one("Service", "reef-scaler-peers")
    assert settings["scaler"]["peers"] == "reef-scaler-peers.sea.svc:8080"
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)
    assert [port["port"] for port in service["spec"]["ports"]] == [8080]


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
