"""A scaler with ten thousand triggers keeps its event loop free while it makes metrics, JSON and the page."""

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from listeners.runtime import http
from listeners.runtime.http import serve, stream
from scaler.evaluation.evaluator import Evaluation, Evaluator
from scaler.measuring.backlog import Backlog, KeyBacklog
from scaler.measuring.lag import Lag
from scaler.triggers.metadata import read_metadata
from scaler.triggers.owner import Owner
from scaler.web.streaming import sliced
from tests.support.running_scaler import RunningScaler, running_scaler
from tests.support.waiting import eventually

TRIGGERS = 10_000
#: The longest that the event loop may be blocked, in CPU time, so that other processes do not count.
MAX_BLOCKED_SECONDS = 0.1


@pytest.fixture
def _no_collection() -> Iterator[None]:
    """Disable garbage collection: its duration depends on everything else in this process."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def track_many(evaluator: Evaluator) -> None:
    """Track as many triggers as if KEDA had polled them, lists and streams."""
    for number in range(TRIGGERS):
        if number % 2:
            metadata = {"type": "redisListTrigger", "keys": f"orders-{number}"}
            key = KeyBacklog(f"orders-{number}", 150, in_flight=2)
        else:
            metadata = {"type": "redisStreamTrigger", "keys": f"payments-{number}"}
            key = KeyBacklog(f"payments-{number}", 150, pending=2, lag=Lag(3, "counted"))
        tracked = evaluator.track(Owner("shop", f"worker-{number}"), read_metadata(metadata))
        tracked.record(Evaluation(2, active=True, backlog=Backlog((key,)), taken_at=time.monotonic()))


@contextlib.asynccontextmanager
async def turns() -> AsyncIterator[list[float]]:
    """Measure the CPU time between one turn of the event loop and the next, for each turn in the block."""
    taken: list[float] = []

    async def turn() -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            taken.append(now - before)
            before = now

    turning = asyncio.create_task(turn())
    try:
        yield taken
    finally:
        turning.cancel()


async def read_by_another_process(scaler: RunningScaler, path: str) -> bytes:
    """Read a response in another process, so that reading costs this one nothing."""
    address = f"http://127.0.0.1:{scaler.server.http_port}{path}"
    reader = await asyncio.create_subprocess_exec(
        "python3", "-c", f"import shutil, sys, urllib.request as u; shutil.copyfileobj(u.urlopen('{address}'), "
        "sys.stdout.buffer)", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        body, _ = await reader.communicate()
    return body


@pytest.mark.usefixtures("_no_collection")
async def test_the_event_loop_is_not_blocked() -> None:
    """While /metrics, the JSON and the page are made for ten thousand triggers, other tasks run in between."""
    async with running_scaler() as scaler:
        track_many(scaler.server.evaluator)
        longest, bodies = {}, {}
        for path in ("/metrics", "/api/v1/triggers", "/"):
            async with turns() as taken:
                bodies[path] = (await read_by_another_process(scaler, path)).decode()
            longest[path] = max(taken)
        assert max(longest.values()) < MAX_BLOCKED_SECONDS, longest
    assert bodies["/metrics"].count("\ntriggerfish_trigger_backlog{") == TRIGGERS
    assert bodies["/metrics"].count("\n# TYPE triggerfish_trigger_backlog ") == 1
    listed = json.loads(bodies["/api/v1/triggers"])["triggers"]
    assert len({trigger["path"] for trigger in listed}) == TRIGGERS
    assert "200 of 10,000 triggers are shown" in bodies["/"]
    assert bodies["/"].endswith("</html>")


async def test_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read its response is disconnected, and only little of the response is made."""
    monkeypatch.setattr(http, "READ_SECONDS", 0.5)
    made = ended = 0

    def pieces() -> Iterator[str]:
        nonlocal made, ended
        try:
            for made in range(10_000):  # noqa: B007  (counts the pieces)
                yield "x" * 100_000
        finally:
            ended += 1

    async def endless(request: web.Request) -> web.StreamResponse:
        return await stream(request, "text/plain", sliced(pieces()))

    app = web.Application()
    app.add_routes([web.get("/", endless)])
    runner, port = await serve(app, "127.0.0.1", 0, field="port")
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: ended)
        assert 0 < made < 1_000
        writer.close()
        del reader
    finally:
        await runner.cleanup()
