"""Run the containers of rendered pods as processes, with the files, variables and arguments of the pods.

Like a kubelet, it mounts ConfigMaps, Secrets and projected volumes as files behind symbolic links, takes variables from
values and Secrets, and runs the pods' probes. It does not support images, users, read-only root file systems or
networks. Absolute paths are placed in the test's folder, and ports are replaced by free ones.
"""

import asyncio
import contextlib
import functools
import itertools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from listeners.runtime.child_processes import die_with_parent
from tests.charts.control_plane import TOKEN, ControlPlane
from tests.charts.rendering import Manifest, Rendered
from tests.support.programs.environment import environment
from tests.support.waiting import eventually
from triggerfish.testing.server import free_port

__all__ = ["Container", "Node"]

TRIGGERFISH = Path(sys.executable).with_name("triggerfish")
MOUNTED = "/etc/triggerfish/"
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
#: By container and port in the manifest, the variable that replaces the port on this machine.
PORTS = {
    "scaler": {6000: "TRIGGERFISH_SCALER__GRPC_PORT", 8080: "TRIGGERFISH_SCALER__HTTP_PORT"},
    "app": {8080: "TRIGGERFISH_HOST__HTTP_PORT"},
}
PROBE_SECONDS = 3.0

Secrets = Mapping[str, Mapping[str, str]]


@dataclass
class Container:
    """A running container."""

    spec: Manifest
    ports: Mapping[int, int]
    process: "subprocess.Popen[str]"

    async def ready(self) -> None:
        """Wait until its startup and readiness probes succeed."""
        for name in ("startupProbe", "readinessProbe"):
            await eventually(functools.partial(self._probe, self.spec[name]))

    async def get(self, path: str) -> str:
        """Return the body of a response from its HTTP port. The status must be 200."""
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{self.ports[8080]}{path}") as response:
            assert response.status == 200, response.status
            return await response.text()

    def stop(self, seconds: float) -> int:
        """Send SIGTERM and return the exit status. The container must exit within `seconds`."""
        self.process.terminate()
        return self.process.wait(seconds)

    async def _probe(self, probe: Manifest) -> bool:
        assert self.process.poll() is None, f"exited with status {self.process.returncode}"
        if "grpc" in probe:
            return await self._serving(probe["grpc"])
        with contextlib.suppress(aiohttp.ClientError, AssertionError):
            assert probe["httpGet"]["port"] == "http"
            return bool(await self.get(probe["httpGet"]["path"]))
        return False

    async def _serving(self, probe: Manifest) -> bool:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.ports[probe['port']]}") as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            request = health_pb2.HealthCheckRequest(service=probe["service"])
            with contextlib.suppress(grpc.aio.AioRpcError):
                response = await stub.Check(request, timeout=PROBE_SECONDS)
                return bool(response.status == health_pb2.HealthCheckResponse.SERVING)
        return False


@dataclass
class Node:
    """Runs a release's containers.

    `secrets` are the existing Secrets by name. `code` is the working directory of the images. `addresses` maps cluster
    addresses in arguments and variables to addresses on this machine. `plane` is the cluster's control plane; without
    one, no pod can get a token.
    """

    rendered: Rendered
    secrets: Secrets
    folder: Path
    code: Path
    addresses: dict[str, str] = field(default_factory=dict)
    plane: ControlPlane | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @contextlib.contextmanager
    def running(self, deployment: str) -> Iterator[Container]:
        """Run the container of a Deployment during the block, then kill it."""
        template = self.rendered.one("Deployment", deployment)["spec"]["template"]
        spec = template["spec"]["containers"][0]
        ports = {port["containerPort"]: free_port() for port in spec["ports"]}
        variables = {PORTS[spec["name"]][port]: str(free) for port, free in ports.items()}
        process = self._start(deployment, template["spec"], variables)
        try:
            yield Container(spec, ports, process)
        finally:
            process.kill()
            process.communicate()

    async def run(self, pod: str, seconds: float = 100) -> tuple[int, str]:
        """Run a pod of `helm test` to completion and return its exit status and output."""
        process = self._start(pod, self.rendered.one("Pod", pod)["spec"], {})
        output, _ = await asyncio.to_thread(process.communicate, timeout=seconds)
        return process.returncode, output

    def _start(self, name: str, pod: Manifest, variables: Mapping[str, str]) -> "subprocess.Popen[str]":
        root = self.folder / f"{name}-{next(self._numbers)}"
        [spec] = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for mount in spec["volumeMounts"]:
            if mount["mountPath"].startswith(MOUNTED):
                self._mount(root / mount["mountPath"].removeprefix("/"), volumes[mount["name"]], root)
        if pod["automountServiceAccountToken"] and self.plane is not None:
            self._mount_token(root, self.plane)
        [program] = spec["command"]
        assert program == "triggerfish"
        command = [str(TRIGGERFISH), *(self._localized(argument, root) for argument in spec["args"])]
        return subprocess.Popen(
            command,
            cwd=self.code,
            env={**environment(), **self._api_server(), **self._variables(spec), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )

    def _variables(self, spec: Manifest) -> dict[str, str]:
        found = {}
        for variable in spec.get("env", []):
            if "value" in variable:
                found[variable["name"]] = self.addresses.get(variable["value"], variable["value"])
            else:
                source = variable["valueFrom"]["secretKeyRef"]
                found[variable["name"]] = self.secrets[source["name"]][source["key"]]
        return found

    def _api_server(self) -> dict[str, str]:
        if self.plane is None:
            return {}
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.plane.port)}

    @staticmethod
    def _mount_token(root: Path, plane: ControlPlane) -> None:
        folder = root / SERVICE_ACCOUNT.removeprefix("/")
        folder.mkdir(parents=True)
        (folder / "token").write_text(TOKEN)
        (folder / "ca.crt").write_bytes(plane.authority.certificate)

    def _mount(self, path: Path, volume: Manifest, root: Path) -> None:
        """Write a volume as the kubelet does: files are links into a directory that can be replaced atomically."""
        data = path / "..2026_11_24_00_00_00.000000001"
        data.mkdir(parents=True)
        (path / "..data").symlink_to(data.name)
        for name, text in self._files(volume).items():
            (data / name).write_text(self._localized(text, root))
            (path / name).symlink_to(Path("..data", name))

    def _files(self, volume: Manifest) -> dict[str, str]:
        if "configMap" in volume:
            data: dict[str, str] = self.rendered.one("ConfigMap", volume["configMap"]["name"])["data"]
            return data
        if "secret" in volume:
            return self._secret_files(volume["secret"]["secretName"], volume["secret"].get("items"))
        sources = [source["secret"] for source in volume["projected"]["sources"]]
        return {
            name: text
            for secret in sources
            for name, text in self._secret_files(secret["name"], secret["items"]).items()
        }

    def _secret_files(self, name: str, items: list[dict[str, Any]] | None) -> dict[str, str]:
        secret = self.secrets[name]
        return dict(secret) if items is None else {item["path"]: secret[item["key"]] for item in items}

    def _localized(self, text: str, root: Path) -> str:
        """Return the text with its paths and addresses replaced by those on this machine."""
        for folder in (MOUNTED, SERVICE_ACCOUNT):
            text = text.replace(folder, f"{root}{folder}")
        return self.addresses.get(text, text)
