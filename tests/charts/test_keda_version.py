"""The version of KEDA that the chart finds in the cluster, or that its values give."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml
from aiohttp import web

from tests.charts.rendering import Refused, chart_values, merged, render, render_in_cluster

SHA = "sha256:" + "0" * 64


@contextlib.asynccontextmanager
async def api_server(*images: str, forbidden: bool = False) -> AsyncIterator[str]:
    """Serve the API that Helm's `lookup` uses, with a Deployment for each image, and yield a kubeconfig.

    `forbidden`: reading KEDA's namespace is denied.
    """

    async def answer(request: web.Request) -> web.Response:
        deployments = [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": f"d{number}", "namespace": "keda"},
                "spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
            }
            for number, image in enumerate(images)
        ]
        resources = [{"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["get", "list"]}]
        core = [
            {"name": name.lower() + "s", "kind": name, "namespaced": name != "Namespace", "verbs": ["get", "list"]}
            for name in ("Namespace", "Secret")
        ]
        group = {"groupVersion": "apps/v1", "version": "v1"}
        answers: dict[str, dict[str, Any]] = {
            "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.3"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": core},
            "/api/v1/namespaces/triggerfish": {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": "triggerfish"},
            },
            "/apis": {
                "kind": "APIGroupList",
                "apiVersion": "v1",
                "groups": [{"name": "apps", "versions": [group], "preferredVersion": group}],
            },
            "/apis/apps/v1": {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": resources},
            "/apis/apps/v1/namespaces/keda/deployments": {
                "apiVersion": "apps/v1",
                "kind": "DeploymentList",
                "items": deployments,
            },
        }
        denied = forbidden and "/namespaces/keda" in request.path
        if request.path in answers and not denied:
            return web.json_response(answers[request.path])
        reason, code = ("Forbidden", 403) if denied else ("NotFound", 404)
        status = {"kind": "Status", "status": "Failure", "reason": reason, "message": reason, "code": code}
        return web.json_response(status, status=code)

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {}}],
                "current-context": "c",
            }
        )
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("image", "accepted"),
    [
        ("ghcr.io/kedacore/keda:2.16.1", False),
        ("registry.example:5000/mirror/keda:v2.20.1", False),
        (f"ghcr.io/kedacore/keda:2.20.2@{SHA}", True),
        ("ghcr.io/kedacore/keda:2.21.0", True),
        (f"ghcr.io/kedacore/keda@{SHA}", True),
    ],
)
async def test_the_version_is_read_from_the_cluster(image: str, accepted: bool) -> None:
    """An older KEDA is refused with its version and the fix. An unknown version is accepted."""
    async with api_server("ghcr.io/kedacore/keda-metrics-apiserver:2.16.1", image) as kubeconfig:
        rendering = asyncio.to_thread(render_in_cluster, chart_values("one-app"), kubeconfig)
        if accepted:
            assert (await rendering).one("ScaledObject")
        else:
            with pytest.raises(Refused, match=r"keda\.version: KEDA is 2\.\d+\.\d.*Upgrade KEDA.*keda\.allowOlder"):
                await rendering


@pytest.mark.parametrize("override", [{"version": "2.20.2"}, {"allowOlder": True}])
async def test_values_override_what_the_cluster_has(override: dict[str, object]) -> None:
    """A given version is believed, and an older one is accepted on request."""
    values = merged(chart_values("one-app"), {"keda": override})
    async with api_server("ghcr.io/kedacore/keda:2.16.1") as kubeconfig:
        assert (await asyncio.to_thread(render_in_cluster, values, kubeconfig)).one("ScaledObject")


@pytest.mark.parametrize("override", [{"version": "2.21.0"}, {"allowOlder": True}])
async def test_an_installer_that_may_not_read_kedas_namespace(override: dict[str, object]) -> None:
    """Helm fails with the reason. With a given version, or any version accepted, nothing of KEDA is read."""
    values = chart_values("one-app")
    async with api_server("ghcr.io/kedacore/keda:2.21.0", forbidden=True) as kubeconfig:
        with pytest.raises(Refused, match=r"(?i)forbidden"):
            await asyncio.to_thread(render_in_cluster, values, kubeconfig)
        rendered = await asyncio.to_thread(render_in_cluster, merged(values, {"keda": override}), kubeconfig)
    assert rendered.one("ScaledObject")


def test_a_release_without_apps_accepts_an_older_keda() -> None:
    """It has no ScaledObject, and its notes warn."""
    assert "WARNING: KEDA is 2.16.1" in render({**chart_values("default"), "keda": {"version": "2.16.1"}}).notes
