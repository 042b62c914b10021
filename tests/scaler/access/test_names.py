"""A DNS that does not answer for some names delays nothing but their own connections."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from listeners.connections.resolver import MAX_LOOKUPS, Resolver
from tests.support.running_scaler import running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

HANGING = [f"hangs-{number}" for number in range(40)]
LIST = {"type": "redisListTrigger", "keys": "orders"}


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the lookups of each name. Those of the names that hang end with the test."""
    asked, end, real = Counter[str](), threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        asked[host] += 1
        if host.startswith("hangs"):
            end.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return real("127.0.0.1" if host == "good" else host, *arguments, **options)

    monkeypatch.setattr("socket.getaddrinfo", getaddrinfo)
    yield asked
    end.set()


async def test_names_that_are_not_answered(server: Server, lookups: Counter[str]) -> None:
    """While the lookups of forty connections hang, /metrics is served and a cut connection with another name is
    replaced. Each name that hangs is looked up once.
    """
    connections = {**{name: f"{name}:1" for name in HANGING}, "good": f"good:{server.port}"}
    async with running_scaler(connections=connections, scaler={"bound_seconds": 0.5}) as scaler:

        async def measured(name: str) -> bool:
            try:
                return await scaler.keda.target({**LIST, "connection": name}, name=name) == 0
            except grpc.aio.AioRpcError:
                return False

        for _ in range(2):
            assert not any(await asyncio.gather(*map(measured, HANGING)))
        await eventually(lambda: measured("good"))
        with server.client() as client:
            client.client_kill_filter(_type="normal", skipme=True)

        async def measured_again() -> bool:
            return await measured("good") and lookups["good"] >= 2

        await eventually(measured_again)
        assert (await scaler.get("/metrics"))[0] == 200
        assert [lookups[name] for name in HANGING] == [1] * len(HANGING)


async def test_lookups_of_one_connection_are_bounded(lookups: Counter[str]) -> None:
    """One connection has a bounded number of lookups pending. An address needs none."""
    resolver = Resolver()
    for number, name in enumerate(HANGING[:MAX_LOOKUPS]):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await resolver.addresses(name)
        assert lookups.total() == number + 1
    with pytest.raises(OSError, match="other names are pending"):
        await resolver.addresses("good")
    assert await resolver.addresses("10.0.0.1") == ["10.0.0.1"]
    assert lookups.total() == MAX_LOOKUPS
