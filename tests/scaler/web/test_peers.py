"""Several scalers: the page and JSON of each one show what KEDA asked any of them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
import redis.asyncio

from scaler.triggers.metadata import read_metadata
from tests.support.running_scaler import RunningScaler, running_scaler
from tests.support.waiting import eventually
from tests.triggerfish.cli.test_probe import triggerfish
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders", "function": "handle", "messagesPerWorker": "1"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments", "function": "settle"}
#: Each scaler has an address of its own, and all have the same port, as pods do.
ADDRESSES = ("127.0.0.2", "127.0.0.3")
SILENT = "127.0.0.4"


@pytest.fixture
def _resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of the headless Service has the addresses of both scalers."""
    monkeypatch.setattr("scaler.web.peers._resolve", lambda host, port: list(ADDRESSES))


@contextlib.asynccontextmanager
async def scaler_at(address: str, port: int, server: Server, **more: Any) -> AsyncIterator[RunningScaler]:
    """Run one of the scalers."""
    settings = {"http_host": address, "http_port": port, "peers": f"scalers.test:{port}"}
    async with running_scaler(server, scaler=settings, **more) as scaler:
        yield scaler


@contextlib.asynccontextmanager
async def two_scalers(server: Server) -> AsyncIterator[tuple[RunningScaler, RunningScaler]]:
    """Run both scalers."""
    port = free_port()
    async with scaler_at(ADDRESSES[0], port, server) as one, scaler_at(ADDRESSES[1], port, server) as other:
        yield one, other


async def listed(scaler: RunningScaler) -> tuple[dict[str, int | None], list[str]]:
    """Return the backlogs that a scaler lists, by function, and its problems."""
    status, text = await scaler.get("/api/v1/triggers")
    assert status == 200
    answer = json.loads(text)
    return {one["function"]: one.get("backlog") for one in answer["triggers"]}, answer["problems"]


@pytest.mark.usefixtures("_resolved")
async def test_each_scaler_shows_all_triggers(server: Server, client: redis.asyncio.Redis) -> None:
    """KEDA asks one scaler about each trigger. Both list both, and the page shows them with their charts."""
    await client.rpush("orders", "x", "y")
    async with two_scalers(server) as (one, other):
        await one.keda.target(LIST)
        await other.keda.target(STREAM)
        for scaler in (one, other):
            assert await listed(scaler) == ({"handle": 2, "settle": 0}, [])
            _, page = await scaler.get("/")
            assert "<b>2</b> triggers" in page
            assert page.count("<polyline") == 2


@pytest.mark.usefixtures("_resolved")
async def test_the_latest_state_is_shown(server: Server, client: redis.asyncio.Redis) -> None:
    """A trigger that KEDA asked both scalers about is shown once, as the one knows it that was asked last."""
    async with two_scalers(server) as (one, other):
        for scaler, backlog in ((one, 1), (other, 2), (one, 3)):
            await client.rpush("orders", "x")
            await eventually(partial(_measures, scaler, backlog))
            assert await listed(one) == await listed(other) == ({"handle": backlog}, [])


async def _measures(scaler: RunningScaler, backlog: int) -> bool:
    return await scaler.keda.target(LIST) == backlog


@pytest.mark.usefixtures("_resolved")
async def test_one_trigger_of_another_scaler(server: Server, client: redis.asyncio.Redis) -> None:
    """A trigger that only the other scaler knows is measured there."""
    metric = read_metadata(LIST).metric_name
    async with two_scalers(server) as (one, other):
        await other.keda.target(LIST)
        await client.rpush("orders", "x", "y", "z")
        status, text = await one.get(f"/api/v1/triggers/shop/worker/{metric}")
        assert (status, json.loads(text)["function"]) == (200, "handle")
        status, _ = await one.get("/api/v1/triggers/shop/worker/other")
        assert status == 404


@pytest.mark.parametrize("problem", ["cannot be asked", "did not answer within 1 s"])
async def test_one_trigger_while_a_scaler_does_not_answer(
    server: Server, monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    """Another scaler that knows the trigger answers. Whether one exists that none of these knows is an error."""
    monkeypatch.setattr("scaler.web.peers._resolve", lambda host, port: [SILENT, *ADDRESSES])
    async with two_scalers(server) as (one, other), contextlib.AsyncExitStack() as silent:
        if "within" in problem:
            port = one.server.http_port
            await silent.enter_async_context(await asyncio.start_server(lambda reader, writer: None, SILENT, port))
        await other.keda.target(LIST)
        status, text = await one.get(f"/api/v1/triggers/shop/worker/{read_metadata(LIST).metric_name}")
        assert (status, json.loads(text)["function"]) == (200, "handle")
        status, text = await one.get("/api/v1/triggers/shop/worker/other")
        assert status == 503
        assert f"The scaler at {SILENT}:{one.server.http_port} {problem}" in json.loads(text)["error"]


@pytest.mark.usefixtures("_resolved")
async def test_nothing_is_stored(server: Server) -> None:
    """The triggers of a scaler that has ended are not shown, and it is named."""
    port = free_port()
    async with scaler_at(ADDRESSES[0], port, server) as one:
        async with scaler_at(ADDRESSES[1], port, server) as other:
            await one.keda.target(LIST)
            await other.keda.target(STREAM)
            assert (await listed(one))[0].keys() == {"handle", "settle"}
        backlogs, [problem] = await listed(one)
        assert backlogs.keys() == {"handle"}
        assert f"{ADDRESSES[1]}:{port} cannot be asked" in problem
        _, page = await one.get("/")
        assert f"{ADDRESSES[1]}:{port} cannot be asked" in page
        explained = await triggerfish("explain", "--scaler", f"http://{ADDRESSES[0]}:{port}")
        assert (explained.code, "handle" in explained.output) == (1, True)
        assert f"{ADDRESSES[1]}:{port} cannot be asked" in " ".join(explained.errors.split())


async def test_a_scaler_that_hangs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named after a second, and what the others track is shown."""
    monkeypatch.setattr("scaler.web.peers._resolve", lambda host, port: [*ADDRESSES, SILENT])
    async with two_scalers(server) as (one, other):
        silent = await asyncio.start_server(lambda reader, writer: None, SILENT, one.server.http_port)
        async with silent:
            await other.keda.target(LIST)
            backlogs, [problem] = await listed(one)
            assert backlogs == {"handle": 0}
            assert f"{SILENT}:{one.server.http_port} did not answer within 1 s" in problem


@pytest.mark.usefixtures("_resolved")
async def test_an_answer_that_cannot_be_read(server: Server) -> None:
    """What is not a scaler is named, and its answer is not shown."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n<b>hunter2</b>")
        await writer.drain()

    port = free_port()
    async with scaler_at(ADDRESSES[0], port, server) as one, await asyncio.start_server(answer, ADDRESSES[1], port):
        await one.keda.target(LIST)
        backlogs, [problem] = await listed(one)
        assert (backlogs, "hunter2" in problem) == ({"handle": 0}, False)
        assert "cannot be read" in problem


async def test_a_name_that_does_not_resolve(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other scalers are then unknown, which is reported."""

    def refuse(host: str, port: int) -> list[str]:
        raise OSError(f"no such host: {host}")

    monkeypatch.setattr("scaler.web.peers._resolve", refuse)
    async with scaler_at(ADDRESSES[0], free_port(), server) as one:
        await one.keda.target(LIST)
        backlogs, [problem] = await listed(one)
        assert (backlogs, "scalers.test" in problem, "does not resolve" in problem) == ({"handle": 0}, True, True)


@pytest.mark.usefixtures("_resolved")
async def test_scalers_send_only_their_own_triggers_and_no_secrets(server: Server) -> None:
    """What one scaler sends to another has no triggers of others, and no connection string."""
    connection_string = f"{server.address},password=hunter2"
    async with two_scalers(server) as (one, other):
        await one.keda.target(LIST)
        with contextlib.suppress(Exception):
            await other.keda.target({**STREAM, "connectionString": connection_string})
        _, text = await other.get("/api/v1/peer")
        assert ("settle" in text, "handle" in text, "hunter2" in text, server.address in text) == (
            True, False, False, False
        )  # fmt: skip
        backlogs, _ = await listed(one)
        assert backlogs == {"handle": 0, "settle": None}
