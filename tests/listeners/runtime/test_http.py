"""HTTP servers: connections without a whole request are closed."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from listeners.runtime import http
from listeners.runtime.http import add_probe_routes, serve

BEGINNINGS = [b"", b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /li"]


async def test_incomplete_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose request never becomes complete is closed, also after a complete one. Others are served."""
    monkeypatch.setattr(http, "IDLE_SECONDS", 0.2)
    app = web.Application()
    add_probe_routes(app, lambda: True)
    runner, port = await serve(app, "127.0.0.1", 0, field="port")
    try:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        for number, (_, writer) in enumerate(opened):
            writer.write(BEGINNINGS[number % len(BEGINNINGS)])
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/livez") as response:
            assert response.status == 200
        async with asyncio.timeout(30):
            for reader, writer in opened:
                await reader.read()  # to the end
                writer.close()
    finally:
        await runner.cleanup()
