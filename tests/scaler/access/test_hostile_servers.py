"""Servers that a ScaledObject names and that reply with too much: bounded memory, and undisturbed neighbours."""

from collections.abc import Sequence

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from listeners.connections.spec import ConnectionSpec
from listeners.errors import SourceError
from listeners.redis import dialer
from listeners.redis.client import Client
from listeners.redis.dialer import Dialer
from listeners.redis.reply_bounds import MAX_UNTRUSTED_BYTES, ReplyBudget
from tests.support.network.outside_servers import ALLOWED, HERE, FakeResolver, concealed
from tests.support.network.scripted_server import scripted_server
from tests.support.running_scaler import running_scaler
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

MEGABYTE = b"x" * 1_000_000
FLOODS = {
    "a bulk of 2 GB": b"$2000000000\r\n" + 20 * MEGABYTE,
    "a line": b"+" + 20 * MEGABYTE,
    "a huge array": b"*2000000000\r\n",
    "a huge set": b"~99999999\r\n",
    "a huge map": b"%99999999\r\n",
    "a huge push": b">99999999\r\n",
    "empty arrays": b"*90000\r\n" + b"*0\r\n" * 90_000,
    "errors": b"*90000\r\n" + b"-\r\n" * 90_000,
    "numbers": b"*90000\r\n" + b":1\r\n" * 90_000,
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_floods(server: Server, names: FakeResolver, address: str, flood: str) -> None:
    """A server that floods the scaler is disconnected, and its error reveals nothing. Others are measured."""
    assert names.known[HERE] == address
    async with (
        scripted_server(lambda _: FLOODS[flood], address) as hostile,
        running_scaler(server, scaler=ALLOWED) as scaler,
    ):
        await concealed(scaler, f"{HERE}:{hostile.port}")
        assert await scaler.keda.target({"type": "redisListTrigger", "keys": "orders"}) == 0


@pytest.mark.parametrize("flood", FLOODS)
async def test_what_is_kept_of_a_flood(address: str, flood: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the bound is counted for a server that is not trusted, and then nothing is kept."""
    counted: list[int] = []

    class Counting(ReplyBudget):
        def add(self, connection: object, received: bytes) -> None:
            try:
                super().add(connection, received)  # type: ignore[arg-type]
            finally:
                counted.append(sum(self._bytes.values()))

    monkeypatch.setattr(dialer, "ReplyBudget", Counting)
    async with scripted_server(lambda _: FLOODS[flood], address) as hostile:
        client = Client(ConnectionSpec(address, hostile.port, allowed_hosts=(address,)), "test")
        with pytest.raises(SourceError, match=r"reply has an array|take more than"):
            await client.command("k", "GET", "k", doing="reading")
        assert max(counted) < 10 * MAX_UNTRUSTED_BYTES
        await client.aclose()


def slots(*rows: bytes) -> bytes:
    """Return a reply to CLUSTER SLOTS."""
    return b"*%d\r\n" % len(rows) + b"".join(rows)


def row(first: int, last: int, host: bytes, port: int = 6379) -> bytes:
    """Return one of its rows."""
    return b"*3\r\n:%d\r\n:%d\r\n*2\r\n$%d\r\n%b\r\n:%d\r\n" % (first, last, len(host), host, port)


ODD_SLOTS = {
    "too many slots": slots(row(0, 30_000_000, b"h")),
    "negative": slots(row(-5, 5, b"h")),
    "backwards": slots(row(5, 0, b"h")),
    "no port": slots(row(0, 5, b"h", 0)),
    "no row": b"*1\r\n:1\r\n",
    "no list": b"+OK\r\n",
    "too many nodes": slots(*(row(slot, slot, b"h", 1 + slot) for slot in range(60))),
}


@pytest.mark.parametrize("odd", ODD_SLOTS)
async def test_slots_that_no_cluster_has(address: str, odd: str) -> None:
    """A reply to CLUSTER SLOTS is checked before it is used."""
    info = b"redis_version:7.2.4\r\nredis_mode:cluster\r\n"

    def reply(command: Sequence[bytes]) -> bytes:
        return b"$%d\r\n%b\r\n" % (len(info), info) if command[0] == b"INFO" else ODD_SLOTS[odd]

    async with scripted_server(reply, address, greeting=False) as hostile:
        client = Client(ConnectionSpec(address, hostile.port, allowed_hosts=(address,)), "test")
        with pytest.raises(SourceError, match="CLUSTER SLOTS replied"):
            await client.server()
        assert not client.is_cluster
        await client.aclose()


def test_a_huge_array_byte_by_byte() -> None:
    """Its header is recognized however it arrives; replies within the bound are not, even byte by byte."""
    budget = ReplyBudget()
    connection = Dialer(ConnectionSpec()).connection_class()(dialer=Dialer(ConnectionSpec()))
    for _ in range(MAX_UNTRUSTED_BYTES // 200):
        budget.add(connection, b"$10\r\n")
        for _ in range(10):
            budget.add(connection, b"x")
        budget.add(connection, b"\r\n")
    budget.add(connection, b"$12\r\norders*40000")
    budget.add(connection, b"0\r\n")
    for byte in b"*40000":
        budget.add(connection, bytes([byte]))
    with pytest.raises(RedisConnectionError, match="an array"):
        budget.add(connection, b"0")


def test_replies_count_until_the_next_command() -> None:
    """Each round trip has the whole bound, however many came before."""
    budget = ReplyBudget()
    connection = Dialer(ConnectionSpec()).connection_class()(dialer=Dialer(ConnectionSpec()))
    for _ in range(3):
        budget.begin(connection)
        budget.add(connection, b"x" * (MAX_UNTRUSTED_BYTES - 1))
    with pytest.raises(RedisConnectionError):
        budget.add(connection, b"xx")
