"""A scaler process that gets requests for thousands of bogus ScaledObjects, and bytes that are no requests."""

import asyncio
import contextlib
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import pytest
import redis.asyncio
from grpc import StatusCode

from listeners.runtime.child_processes import die_with_parent
from scaler.monitoring.trigger_metrics import MAX_LABEL_CHARACTERS
from tests.support.running_scaler import SCALER, Keda
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

ROOT = Path(__file__).parents[3]
HOSTILE = 'a/b\n# TYPE b counter\nb{x="y"} 1\\ \'?#\u202e\U0001f421\x00\r'
LIST = {"type": "redisListTrigger", "keys": "orders"}
#: More of them than the process tracks have valid metadata.
SCALED_OBJECTS = 2_500
MAX_TRACKED = 2_000
#: A scaler with a smaller bound, as ten thousand triggers take a minute.
PROGRAM = f"""
import runpy
import scaler.evaluation.evaluator as evaluator
evaluator.MAX_TRACKED = {MAX_TRACKED}
runpy.run_module("triggerfish", run_name="__main__")
"""
CONCURRENT_CALLS = 250
MEGABYTE = 1024 * 1024
#: All tracked triggers, and freed memory that Python keeps.
MAX_GROWTH_BYTES = 50 * MEGABYTE


LABEL = re.compile(r'[a-z_]+="((?:[^"\\]|\\[\\"n])*)"')
SERIES = re.compile(rf"([a-z_]+)(?:{{{LABEL.pattern}(?:,{LABEL.pattern})*}})? [-+0-9.einf]+", re.IGNORECASE)


@dataclass
class Process:
    """A scaler in a separate process, and clients."""

    pid: int
    grpc_port: int
    http_port: int
    keda: Keda
    http: aiohttp.ClientSession

    @property
    def resident_bytes(self) -> int:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def get(self, path: str) -> str:
        """Return the body of an HTTP response, which must have status 200."""
        async with self.http.get(f"http://127.0.0.1:{self.http_port}{path}") as response:
            assert response.status == 200
            return await response.text()

    async def code(self, metadata: dict[str, str], **names: str) -> StatusCode:
        """Return the status of a call."""
        try:
            await self.keda.target(metadata, **names)
        except grpc.aio.AioRpcError as error:
            assert len(error.details() or "") <= 1000
            return error.code()
        return StatusCode.OK


@pytest.fixture
async def process(server: Server) -> AsyncIterator[Process]:
    """A scaler process with the test's server as default Redis."""
    ports = {"grpc_port": free_port(), "http_port": free_port()}
    settings = {f"TRIGGERFISH_SCALER__{name.upper()}": str(value) for name, value in {**SCALER, **ports}.items()}
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "scaler"],
        cwd=ROOT,
        env={**os.environ, **settings, "TRIGGERFISH_CONNECTION": server.address},
        preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
    )
    try:
        options = [("grpc.max_reconnect_backoff_ms", 100)]
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{ports['grpc_port']}", options) as channel,
            aiohttp.ClientSession() as http,
        ):
            async with asyncio.timeout(30):
                await channel.channel_ready()
            yield Process(running.pid, **ports, keda=Keda(channel), http=http)
    finally:
        running.terminate()
        assert await asyncio.to_thread(running.wait, 20) == 0


def bogus(number: int) -> tuple[StatusCode, dict[str, str]]:
    """Return unique metadata of one of four kinds, and the status of a call with it."""
    match number % 8:
        case 0:
            return StatusCode.FAILED_PRECONDITION, {**LIST, "connection": f"no-{number}", "function": HOSTILE}
        case 1:
            return StatusCode.INVALID_ARGUMENT, {**LIST, f"option-{number}{HOSTILE}": "x"}
        case 2 | 4 | 6:
            return StatusCode.OK, {**LIST, "keys": f"orders-{number}", "function": f"{HOSTILE}{number}"}
        case _:
            return StatusCode.OK, {
                "type": "redisStreamTrigger",
                "keys": f"\u00fcn\u00ef-{number}",
                "function": "x" * 500,
            }


async def flood(process: Process, numbers: range) -> None:
    """Make calls for ScaledObjects with names that Kubernetes would never allow, and check their statuses."""
    for first in range(numbers.start, numbers.stop, CONCURRENT_CALLS):
        requested = {number: bogus(number) for number in range(first, first + CONCURRENT_CALLS)}
        codes = await asyncio.gather(
            *(
                process.code(metadata, name=f"{HOSTILE}{'x' * 120}{number}", namespace=f"{HOSTILE}{number}")
                for number, (_, metadata) in requested.items()
            )
        )
        assert Counter(codes) == Counter(code for code, _ in requested.values())


async def test_thousands_of_bogus_scaledobjects(process: Process, client: redis.asyncio.Redis) -> None:
    """Each gets the expected status. Memory and the number of series stay bounded, metrics stay readable, and a good
    request is answered.
    """
    await client.rpush("orders", "x")
    await flood(process, range(500))
    before = process.resident_bytes
    await flood(process, range(500, SCALED_OBJECTS))
    pages = [await process.get(path) for path in ("/metrics", "/api/v1/triggers", "/")]
    assert process.resident_bytes - before < MAX_GROWTH_BYTES, (before, process.resident_bytes)
    assert 1_000 < max_series(pages[0]) <= MAX_TRACKED  # triggers with long names are bounded in bytes too
    assert len(pages[2]) < MEGABYTE
    assert await process.keda.target(LIST) == 1


def max_series(text: str) -> int:
    """Return the largest number of series of one metric. Check the format, the name and the labels of every line."""
    numbers: Counter[str] = Counter()
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# "):
            continue
        found = SERIES.fullmatch(line)
        assert found, line
        assert all(len(value) <= 2 * MAX_LABEL_CHARACTERS for value in LABEL.findall(line))  # including escapes
        numbers[found[1]] += 1
    assert all(name.startswith(("triggerfish_", "process_", "python_info")) for name in numbers), numbers
    return max(numbers.values())


def huge_maps() -> Iterator[tuple[StatusCode, dict[str, str]]]:
    """Yield maps just below the maximum message size (1 MB), with few large or many small entries, and one above it."""
    below = MEGABYTE - 20_000
    yield StatusCode.INVALID_ARGUMENT, {**LIST, "keys": "k" * below}
    yield StatusCode.INVALID_ARGUMENT, {**LIST, "k" * below: "x"}
    yield StatusCode.INVALID_ARGUMENT, {**LIST, **{f"option-{number}": "x" for number in range(below // 25)}}
    yield StatusCode.INVALID_ARGUMENT, {"type": "x" * below}
    yield StatusCode.RESOURCE_EXHAUSTED, {**LIST, "keys": "k" * MEGABYTE}


async def test_huge_maps_and_random_bytes(process: Process, client: redis.asyncio.Redis) -> None:
    """Maps of 1 MB are refused with a short message, bytes that are not HTTP/2 close their connection, nothing of them
    is kept in memory, and a good request is answered.
    """
    await client.rpush("orders", "x")
    assert await process.keda.target(LIST) == 1
    before = process.resident_bytes
    for _ in range(4):
        for code, metadata in huge_maps():
            assert await process.code(metadata) == code
    chance = random.Random(1)
    await asyncio.gather(*(send_raw(process.grpc_port, chance.randbytes(10_000)) for _ in range(200)))
    assert await process.keda.target(LIST) == 1
    await eventually(lambda: process.resident_bytes - before < MAX_GROWTH_BYTES, seconds=5)


async def send_raw(port: int, data: bytes) -> None:
    """Send bytes, and wait until the connection is closed."""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            await reader.read()
        writer.close()
