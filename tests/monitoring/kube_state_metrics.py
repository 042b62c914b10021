"""A fake kube-state-metrics, because the real one needs a cluster: the series of one ScaledObject's HPA and Deployment.

Names and labels are those of kube-state-metrics 2 (docs/metrics/workload/horizontalpodautoscaler-metrics.md and
deployment-metrics.md in its repository). Rules and dashboards must not use series that are not listed in NAMES.
"""

from prometheus_client import CollectorRegistry, Gauge, start_http_server

__all__ = ["NAMES", "KubeStateMetrics"]

HPA = ("namespace", "horizontalpodautoscaler")
DEPLOYMENT = ("namespace", "deployment")
NAMES: dict[str, tuple[str, ...]] = {
    "kube_horizontalpodautoscaler_info": (
        *HPA,
        "scaletargetref_api_version",
        "scaletargetref_kind",
        "scaletargetref_name",
    ),
    "kube_horizontalpodautoscaler_spec_min_replicas": HPA,
    "kube_horizontalpodautoscaler_spec_max_replicas": HPA,
    "kube_horizontalpodautoscaler_status_current_replicas": HPA,
    "kube_horizontalpodautoscaler_status_desired_replicas": HPA,
    "kube_deployment_status_replicas": DEPLOYMENT,
    "kube_deployment_status_replicas_ready": DEPLOYMENT,
}


class KubeStateMetrics:
    """Serves the series of a Deployment and a ScaledObject of the same name, on a free port."""

    def __init__(self, namespace: str, name: str, maximum: int) -> None:
        registry = CollectorRegistry()
        help_text = "Faked by a test."
        self._gauges = {series: Gauge(series, help_text, labels, registry=registry) for series, labels in NAMES.items()}
        self._labels: dict[tuple[str, ...], tuple[str, str]] = {
            HPA: (namespace, f"keda-hpa-{name}"),
            DEPLOYMENT: (namespace, name),
        }
        info = self._gauges["kube_horizontalpodautoscaler_info"]
        info.labels(*self._labels[HPA], "apps/v1", "Deployment", name).set(1)
        self._set("kube_horizontalpodautoscaler_spec_min_replicas", 1)
        self._set("kube_horizontalpodautoscaler_spec_max_replicas", maximum)
        self.set_replicas(desired=0, running=0)
        self._server, self._thread = start_http_server(0, "127.0.0.1", registry)
        self.port: int = self._server.server_port

    def set_replicas(self, *, desired: int, running: int) -> None:
        """Set the number of replicas that the HPA desires, and the number that runs."""
        self._set("kube_horizontalpodautoscaler_status_desired_replicas", desired)
        self._set("kube_horizontalpodautoscaler_status_current_replicas", running)
        self._set("kube_deployment_status_replicas", running)
        self._set("kube_deployment_status_replicas_ready", running)

    def stop(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def _set(self, series: str, value: float) -> None:
        self._gauges[series].labels(*self._labels[NAMES[series]]).set(value)
