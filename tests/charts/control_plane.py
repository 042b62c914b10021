"""A fake of what scales apps in a cluster: KEDA's operator, and the HPAs in the API server.

It does what recordings of both show. An HPA without metrics gets a metric for CPU from the API server. If the scaler
does not answer, KEDA before 2.20.2 makes such an HPA, reports the ScaledObject as ready and never corrects it; newer
versions make no HPA, and try again after a delay that doubles. It does not simulate watches, replicas or authorization.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
from aiohttp import web

from scaler.triggers.metadata import read_metadata
from tests.charts.rendering import Manifest
from tests.support.network.certificates import Authority
from tests.support.running_scaler import Keda

__all__ = ["TOKEN", "ControlPlane", "control_plane"]

TOKEN = "token-of-the-test"
PATH = "/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers/{name}"
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
FIRST_DELAY_SECONDS = 0.05


class ControlPlane:
    """The HPAs by name, the conditions of ScaledObjects, and how KEDA reconciles. `old`: KEDA before 2.20.2."""

    def __init__(self, *, old: bool = False) -> None:
        self.hpas: dict[str, Manifest] = {}
        self.ready: dict[str, str] = {}
        self.requests = 0
        self.port = 0
        self.authority = Authority()
        self._old = old

    async def scale(self, scaled_object: Manifest, scaler: str) -> None:
        """Reconcile a ScaledObject until it is ready. `scaler` is the address that stands for its scalerAddress."""
        delay_seconds = FIRST_DELAY_SECONDS
        while not await self.reconcile(scaled_object, scaler):
            await asyncio.sleep(delay_seconds)
            delay_seconds *= 2

    async def reconcile(self, scaled_object: Manifest, scaler: str) -> bool:
        """Reconcile a ScaledObject once, and return whether KEDA reports it as ready."""
        name = scaled_object["metadata"]["name"]
        hpa = f"keda-hpa-{name}"
        if hpa not in self.hpas:
            names = await self._metric_names(scaled_object, scaler)
            if not names and not self._old:
                self.ready[name] = "ScaledObjectCheckFailed"
                return False
            self._make(hpa, names)
        self.ready[name] = "ScaledObjectReady"
        return True

    def accept(self, scaled_object: Manifest) -> None:
        """Make the HPA of a ScaledObject without asking its scaler."""
        names = [read_metadata(trigger["metadata"]).metric_name for trigger in scaled_object["spec"]["triggers"]]
        self._make(f"keda-hpa-{scaled_object['metadata']['name']}", names)

    def _make(self, hpa: str, names: list[str]) -> None:
        metrics = [
            {"type": "External", "external": {"metric": {"name": f"s{n}-{name}"}}} for n, name in enumerate(names)
        ]
        self.hpas[hpa] = {"metadata": {"name": hpa}, "spec": {"metrics": metrics or [CPU]}}

    async def _metric_names(self, scaled_object: Manifest, scaler: str) -> list[str]:
        """Return the metrics of the triggers, or none if the scaler does not answer."""
        name = scaled_object["metadata"]["name"]
        async with grpc.aio.insecure_channel(scaler, (("grpc.use_local_subchannel_pool", 1),)) as channel:
            keda = Keda(channel)
            with contextlib.suppress(grpc.aio.AioRpcError):
                specs = [
                    await keda.spec(trigger["metadata"], name=name) for trigger in scaled_object["spec"]["triggers"]
                ]
                return [spec.metricName for spec in specs]
        return []

    async def _get(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"kind": "Status", "code": 401}, status=401)
        hpa: Any = self.hpas.get(request.match_info["name"])
        return web.json_response(hpa) if hpa else web.json_response({"kind": "Status", "code": 404}, status=404)

    @contextlib.asynccontextmanager
    async def serving(self, folder: Path) -> AsyncIterator[None]:
        """Serve the HPAs over TLS during the block."""
        self.authority.write(folder)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        app = web.Application()
        app.add_routes([web.get(PATH, self._get)])
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            self.port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def control_plane(folder: Path, *, old: bool = False) -> AsyncIterator[ControlPlane]:
    """Run a control plane with KEDA during the block."""
    plane = ControlPlane(old=old)
    async with plane.serving(folder / "control-plane"):
        yield plane
