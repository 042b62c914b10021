"""A fake Kubernetes API server that supports Leases only.

It behaves like the real server in optimistic locking by resourceVersion (409), 404, AlreadyExists, and the validation
of a LeaseSpec's numbers and times. Tests can request 403, an outage or silence. It has no authentication, watches or
defaulting, and keeps everything in memory.
"""

import asyncio
import contextlib
import copy
import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration, CoordinationV1Api

__all__ = ["LeaseApi", "client_of", "lease_api"]

COLLECTION = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
#: The times that Go parses as a MicroTime.
MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")


class LeaseApi:
    """The Leases by name, and faults: `denied` verbs get 403, `status` answers every request, `silent` hangs."""

    def __init__(self) -> None:
        self.leases: dict[str, dict[str, Any]] = {}
        self.denied: set[str] = set()
        self.status: int | None = None
        self.silent = False
        self.requests: list[str] = []
        self.url = ""
        self._versions = itertools.count(1)

    def put(self, name: str, **spec: object) -> None:
        """Write a Lease's spec as another client would."""
        lease = copy.deepcopy(self.leases.get(name)) or {"metadata": {"name": name, "namespace": "shop"}, "spec": {}}
        lease["spec"].update(spec)
        self._keep(lease)

    def application(self) -> web.Application:
        """Return the web application."""
        app = web.Application(middlewares=[self._inject_faults])
        app.add_routes(
            [
                web.post(COLLECTION, self._create, name="create"),
                web.get(COLLECTION + "/{name}", self._get, name="get"),
                web.put(COLLECTION + "/{name}", self._update, name="update"),
            ]
        )
        return app

    @web.middleware
    async def _inject_faults(self, request: web.Request, handler: Any) -> web.StreamResponse:
        verb = request.match_info.route.name or ""
        self.requests.append(verb)
        if self.silent:
            await asyncio.sleep(60)
        if self.status is not None:
            return _status(self.status, "InternalError")
        if verb in self.denied:
            return _status(403, "Forbidden")
        response: web.StreamResponse = await handler(request)
        return response

    async def _get(self, request: web.Request) -> web.Response:
        lease = self.leases.get(request.match_info["name"])
        return web.json_response(lease) if lease else _status(404, "NotFound")

    async def _create(self, request: web.Request) -> web.Response:
        lease = await request.json()
        if lease["metadata"]["name"] in self.leases:
            return _status(409, "AlreadyExists")
        return self._checked(lease, 201)

    async def _update(self, request: web.Request) -> web.Response:
        lease = await request.json()
        stored = self.leases.get(request.match_info["name"])
        if stored is None:
            return _status(404, "NotFound")
        if lease["metadata"].get("resourceVersion") != stored["metadata"]["resourceVersion"]:
            return _status(409, "Conflict")
        return self._checked(lease, 200)

    def _checked(self, lease: dict[str, Any], status: int) -> web.Response:
        spec = lease["spec"]
        times = [spec[name] for name in ("acquireTime", "renewTime") if spec.get(name) is not None]
        if not all(MICRO_TIME.fullmatch(time) for time in times):
            return _status(400, "BadRequest")
        if spec.get("leaseDurationSeconds", 1) <= 0 or spec.get("leaseTransitions", 0) < 0:
            return _status(422, "Invalid")
        return web.json_response(self._keep(lease), status=status)

    def _keep(self, lease: dict[str, Any]) -> dict[str, Any]:
        lease["metadata"]["resourceVersion"] = str(next(self._versions))
        self.leases[lease["metadata"]["name"]] = lease
        return lease


def _status(code: int, reason: str) -> web.Response:
    return web.json_response({"kind": "Status", "status": "Failure", "reason": reason, "code": code}, status=code)


@contextlib.asynccontextmanager
async def lease_api() -> AsyncIterator[LeaseApi]:
    """Run the fake API server on a free port during the block."""
    api = LeaseApi()
    runner = web.AppRunner(api.application(), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield api
    finally:
        await runner.cleanup()


def client_of(api: LeaseApi) -> CoordinationV1Api:
    """Return the real Kubernetes client, connected to the fake server."""
    return CoordinationV1Api(ApiClient(Configuration(host=api.url)))
