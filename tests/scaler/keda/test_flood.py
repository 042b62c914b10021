"""A scaler process that is asked about ten thousand ScaledObjects that make no sense, and sent what is no request."""

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
from scaler.evaluation.evaluator import MAX_TRACKED
from scaler.monitoring.trigger_metrics import MAX_LABEL_CHARACTERS
from tests.support.running_scaler import SCALER, Keda
from tests.support.waiting import eventually
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

ROOT = Path(__file__).parents[3]
HOSTILE = 'a/b\n# TYPE b counter\nb{x="y"} 1\\ \'?#\u202e\U0001f421\x00\r'
LIST = {"type": "redisListTrigger", "keys": "orders"}
#: More than ten thousand of them have metadata that can be remembered.
SCALED_OBJECTS = 11_750
TOGETHER = 250
MEGABYTE = 1024 * 1024
#: All triggers that are remembered, and what Python keeps of what it has let go.
MOST_GROWTH_BYTES = 150 * MEGABYTE


LABEL = re.compile(r'[a-z_]+="((?:[^"\\]|\\[\\"n])*)"')
SERIES = re.compile(rf"([a-z_]+)(?:{{{LABEL.pattern}(?:,{LABEL.pattern})*}})? [-+0-9.einf]+", re.IGNORECASE)


@dataclass
class Process:
    """A scaler in a process of its own."""

    pid: int
    grpc_port: int
    http_port: int
    keda: Keda
    http: aiohttp.ClientSession

    @property
    def resident_bytes(self) -> int:
        """The memory that it has."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def get(self, path: str) -> str:
        """What it answers over HTTP, with 200."""
        async with self.http.get(f"http://127.0.0.1:{self.http_port}{path}") as response:
            assert response.status == 200
            return await response.text()

    async def code(self, metadata: dict[str, str], **names: str) -> StatusCode:
        """How a call ends."""
        try:
            await self.keda.target(metadata, **names)
        except grpc.aio.AioRpcError as error:
            assert len(error.details() or "") <= 1000
            return error.code()
        return StatusCode.OK


@pytest.fixture
async def process(server: Server) -> AsyncIterator[Process]:
    """A scaler process whose default Redis is the test's server."""
    ports = {"grpc_port": free_port(), "http_port": free_port()}
    settings = {f"TRIGGERFISH_SCALER__{name.upper()}": str(value) for name, value in {**SCALER, **ports}.items()}
    running = subprocess.Popen(
        [sys.executable, "-m", "triggerfish", "scaler"],
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
    """Metadata of one of four kinds, never the same again, and how a call with it must end."""
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
    """Ask about ScaledObjects with names that Kubernetes would never allow; each call ends as it must."""
    for first in range(numbers.start, numbers.stop, TOGETHER):
        asked = {number: bogus(number) for number in range(first, first + TOGETHER)}
        codes = await asyncio.gather(
            *(
                process.code(metadata, name=f"{HOSTILE}{'x' * 120}{number}", namespace=f"{HOSTILE}{number}")
                for number, (_, metadata) in asked.items()
            )
        )
        assert Counter(codes) == Counter(code for code, _ in asked.values())


@pytest.mark.timeout(300)
async def test_ten_thousand_bogus_scaledobjects(process: Process, client: redis.asyncio.Redis) -> None:
    """K10: each is answered with its status; memory and the number of series stay bounded; metrics can be read, and a
    good request is answered.
    """
    await client.rpush("orders", "x")
    await flood(process, range(500))
    before = process.resident_bytes
    await flood(process, range(500, SCALED_OBJECTS))
    pages = [await process.get(path) for path in ("/metrics", "/api/v1/triggers", "/")]
    assert process.resident_bytes - before < MOST_GROWTH_BYTES, (before, process.resident_bytes)
    assert series_of(pages[0]) == MAX_TRACKED
    assert len(pages[2]) < MEGABYTE
    assert await process.keda.target(LIST) == 1


def series_of(text: str) -> int:
    """The most series that a name has. Every line is one of the text format, with a name of ours and short labels."""
    numbers: Counter[str] = Counter()
    for line in text.removesuffix("\n").split("\n"):
        if line.startswith("# "):
            continue
        found = SERIES.fullmatch(line)
        assert found, line
        assert all(len(value) <= 2 * MAX_LABEL_CHARACTERS for value in LABEL.findall(line))  # with its escapes
        numbers[found[1]] += 1
    assert all(name.startswith("triggerfish_") for name in numbers), numbers
    return max(numbers.values())


def huge_maps() -> Iterator[tuple[StatusCode, dict[str, str]]]:
    """Maps just below the size that is read (1 MB), of few large and of many small entries, and one above it."""
    below = MEGABYTE - 20_000
    yield StatusCode.INVALID_ARGUMENT, {**LIST, "keys": "k" * below}
    yield StatusCode.INVALID_ARGUMENT, {**LIST, "k" * below: "x"}
    yield StatusCode.INVALID_ARGUMENT, {**LIST, **{f"option-{number}": "x" for number in range(below // 25)}}
    yield StatusCode.INVALID_ARGUMENT, {"type": "x" * below}
    yield StatusCode.RESOURCE_EXHAUSTED, {**LIST, "keys": "k" * MEGABYTE}


async def test_huge_maps_and_random_bytes(process: Process, client: redis.asyncio.Redis) -> None:
    """K10: maps of 1 MB are refused with a short answer, bytes that are no HTTP/2 end their connection, nothing of it
    is kept, and a good request is answered.
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
    await eventually(lambda: process.resident_bytes - before < MOST_GROWTH_BYTES, seconds=5)


async def send_raw(port: int, data: bytes) -> None:
    """Send bytes, and wait until the connection is closed."""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            await reader.read()
        writer.close()
