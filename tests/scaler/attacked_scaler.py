"""A scaler in a process of its own, whose neighbours are watched while somebody attacks it."""

import asyncio
import contextlib
import math
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import redis.asyncio
import yaml

from scaler.settings import ScalerSettings
from tests.support.network.outside_servers import outside_address
from tests.support.programs.environment import environment
from tests.support.programs.hosts import ROOT
from tests.support.programs.memory_cgroup import memory_cgroup
from tests.support.running_scaler import Keda
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

__all__ = ["GOOD", "GOOD_STREAM", "Scaler", "scaler_process"]

GOOD = {"type": "RedisListTrigger", "keys": "orders", "messagesPerWorker": "1"}
GOOD_STREAM = {"type": "RedisStreamTrigger", "keys": "payments", "consumerGroup": "g", "messagesPerWorker": "1"}
#: Half of the requests have to be answered in twice the documented time, and all in a longer one: a busy machine delays
#: the client too.
BOUND_SECONDS = 2 * ScalerSettings().bound_seconds
STALL_SECONDS = 15 * ScalerSettings().bound_seconds
ATTEMPTS = 5
#: A scaler in whose process the lookup of some names never ends.
PROGRAM = """
import runpy, socket, threading
real = socket.getaddrinfo
def getaddrinfo(host, *arguments, **options):
    if str(host).startswith("hangs"):
        threading.Event().wait()
    return real(host, *arguments, **options)
socket.getaddrinfo = getaddrinfo
runpy.run_module("triggerfish", run_name="__main__")
"""


@dataclass
class Scaler:
    """The scaler's process, with clients of it and of its Redis, and the folder of its connections."""

    pid: int
    keda: Keda
    redis: redis.asyncio.Redis
    http: aiohttp.ClientSession
    http_port: int
    folder: Path

    async def attempt(self, metadata: dict[str, str], name: str) -> str:
        """Call GetMetrics for a hostile ScaledObject, and return the status."""
        try:
            await self.keda.target(metadata, name=name, namespace="evil")
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"

    async def attempts(self, *metadata: dict[str, str]) -> set[str]:
        """Make concurrent attempts, and return their statuses."""
        return set(await asyncio.gather(*(self.attempt(one, f"o{n}") for n, one in enumerate(metadata))))

    async def serves_neighbours(self) -> float:
        """Assert that well-behaved triggers and the probe are answered in time, and /metrics and the page at all.

        Return the longest time in seconds that half of the requests took.
        """

        async def target(metadata: dict[str, str]) -> None:
            assert await self.keda.target(metadata) == 1

        waits = [
            await half_answered(lambda: target(GOOD)),
            await half_answered(lambda: target(GOOD_STREAM)),
            await half_answered(lambda: self.get("/livez")),
        ]
        assert max(waits) < BOUND_SECONDS, waits
        for path in ("/metrics", "/"):
            await self.get(path)
        return max(waits)

    async def get(self, path: str) -> None:
        """Request a page, and read all of it."""
        async with self.http.get(f"http://127.0.0.1:{self.http_port}{path}") as response:
            assert response.status == 200
            await response.read()  # fails if the response is cut off

    def peak_mib(self) -> float:
        """Return the most memory that the process has had so far."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


async def half_answered(request: Callable[[], Awaitable[None]]) -> float:
    """Make requests one after the other. Return the seconds in which half of them were answered; inf if they fail.

    Raises TimeoutError if the scaler does not react to one of them.
    """
    waits: list[float] = []
    for _ in range(ATTEMPTS):
        started = time.monotonic()
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await request()
        except (grpc.aio.AioRpcError, aiohttp.ClientError):
            waits.append(math.inf)
        else:
            waits.append(time.monotonic() - started)
    return statistics.median(waits)


@contextlib.asynccontextmanager
async def scaler_process(server: Server, folder: Path, limit_mib: int) -> AsyncIterator[Scaler]:
    """Run a scaler in a process, with a memory cgroup if one can be made."""
    (folder / "connections").mkdir()
    (folder / "connections" / "good").write_text(server.address)
    connections = {f"hangs-{number}": f"hangs-{number}:1" for number in range(10)}
    scaler = {"allowed_hosts": [outside_address(), "198.51.100.0/24"], "http_host": "127.0.0.1"}
    settings = {"connection": server.address, "connections": connections, "scaler": scaler}
    (folder / "settings.yaml").write_text(yaml.safe_dump({**settings, "connections_dir": str(folder / "connections")}))
    options = ("scaler", "--config", str(folder / "settings.yaml"), "--grpc-port", "0", "--http-port", "0")
    log = folder / "log"
    with log.open("wb") as errors, memory_cgroup(limit_mib) as join:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *options, stderr=errors, env=environment(), cwd=ROOT
        )
        join(process.pid)
        try:
            await eventually(lambda: "serving gRPC" in log.read_text() or process.returncode is not None)
            words = log.read_text().partition("serving gRPC")[2].replace(",", " ").split()
            grpc_port, http_port = (int(word) for word in words if word.isdecimal())
            async with (
                grpc.aio.insecure_channel(f"127.0.0.1:{grpc_port}") as channel,
                aiohttp.ClientSession() as http,
                redis.asyncio.Redis(port=server.port) as client,
            ):
                yield Scaler(process.pid, Keda(channel), client, http, http_port, folder / "connections")
            assert process.returncode is None, log.read_text()[-2_000:]
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
