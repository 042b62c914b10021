"""The clients that an app's functions get: they reach every Redis that the host reaches, with its credentials."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
from redis.auth.idp import IdentityProviderInterface
from redis.auth.token import SimpleToken
from redis.exceptions import ConnectionError as RedisConnectionError

from listeners.connections.credentials import EntraTokens
from listeners.connections.settings import ConnectionSettings
from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string
from listeners.redis.app_clients import AppClients
from tests.servers.catalogue import RELEASES
from tests.servers.cluster import Cluster
from tests.servers.secured import Secured
from tests.servers.sentinels import Sentinels
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

SECRET = "hunter2"


@contextlib.asynccontextmanager
async def opened(spec: ConnectionSpec, *, is_cluster: bool = False) -> AsyncIterator[AppClients]:
    """The clients for a spec, closed after the block."""
    clients = AppClients(spec, "a name: functions", lambda: is_cluster)
    try:
        yield clients
    finally:
        await clients.aclose()


async def values_read(clients: AppClients) -> list[object]:
    """Return what each client reads of what it has written."""
    await clients.on_loop.set("async", "1")

    def plainly() -> object:
        clients.on_threads.set("plain", "2")
        return clients.on_threads.get("plain")

    return [await clients.on_loop.get("async"), await asyncio.to_thread(plainly)]


@pytest.mark.releases("redis-5.0", "redis-7.2", "valkey-9.1")
async def test_one_server(server: Server, client: redis.asyncio.Redis) -> None:
    """Both clients use the database of the connection, and CLIENT LIST shows their name."""
    async with opened(parse_connection_string(f"{server.address},defaultDatabase=3")) as clients:
        assert await values_read(clients) == [b"1", b"2"]
        named = [one for one in await client.client_list() if one["name"] == "a-name:-functions"]
        assert [one["db"] for one in named] == ["3", "3"]
    assert await client.keys("*") == []


@pytest.mark.releases("redis-7.2", "valkey-9.1")
async def test_more_callers_than_connections(server: Server, client: redis.asyncio.Redis) -> None:
    """Callers wait for one of ten connections."""
    async with opened(parse_connection_string(server.address)) as clients:
        blocking = [asyncio.ensure_future(clients.on_loop.blpop(["gate"], timeout=4)) for _ in range(10)]
        more = [asyncio.ensure_future(clients.on_loop.get("key")) for _ in range(30)]

        async def blocked() -> bool:
            return len([one for one in await client.client_list() if "b" in one["flags"]]) == 10

        await eventually(blocked)
        assert len([one for one in await client.client_list() if "functions" in one["name"]]) == 10
        await client.rpush("gate", *range(10))
        assert len(await asyncio.gather(*blocking)) == 10
        assert await asyncio.gather(*more) == [None] * 30


async def test_a_unix_socket(tmp_path: Path) -> None:
    """Both clients use a Unix socket."""
    socket = tmp_path / "r.sock"
    with RELEASES["valkey-9.1"].start("--unixsocket", str(socket)):
        async with opened(parse_connection_string(f"unix://{socket}?db=1")) as clients:
            assert await values_read(clients) == [b"1", b"2"]


async def test_a_user_who_may_not_name_connections(own_server: Server, tmp_path: Path) -> None:
    """Both clients connect as a user who may not send CLIENT, with the password of a file that is replaced."""
    file = tmp_path / "password"
    settings = ConnectionSettings.model_validate(
        {"connection_string": f"{own_server.address},user=limited", "password_file": file}
    )
    with own_server.client() as plain:
        plain.acl_setuser("limited", enabled=True, passwords=[f"+{SECRET}"], keys="*", commands=["+get", "+set"])
        file.write_text(SECRET)
        async with opened(settings.spec("connections.cache")) as clients:
            assert await values_read(clients) == [b"1", b"2"]
            plain.acl_setuser("limited", enabled=True, passwords=["+other"], keys="*", commands=["+get", "+set"])
            plain.client_kill_filter(_type="normal", skipme=True)
            file.write_text("other")
            assert await eventually(lambda: values_if_connected(clients)) == [b"1", b"2"]


@pytest.mark.parametrize("hosts", [(), ("cache.example",)])
async def test_tls(tmp_path: Path, hosts: tuple[str, ...]) -> None:
    """Both clients verify the server by the connection's CA and server name, and present its certificate."""
    secured = Secured(tmp_path, hosts=hosts)
    files = {name: tmp_path / file for name, file in (("certificate_file", "tls.crt"), ("key_file", "tls.key"))}
    settings = secured.settings(ca_file=tmp_path / "ca.crt", **files, **({"server_name": hosts[0]} if hosts else {}))
    try:
        async with opened(settings.spec("connections.cache")) as clients:
            assert await values_read(clients) == [b"1", b"2"]
        wrong = secured.settings(ca_file=tmp_path / "ca.crt", **files, server_name="elsewhere.example")
        async with opened(wrong.spec("connections.cache")) as clients:
            with pytest.raises(RedisConnectionError):
                await clients.on_loop.get("key")
            with pytest.raises(RedisConnectionError):
                await asyncio.to_thread(lambda: clients.on_threads.get("key"))
    finally:
        secured.server.stop()


async def test_sentinels() -> None:
    """Both clients find the primary, and the new one after a failover."""
    with Sentinels(RELEASES["valkey-9.1"]) as sentinels:
        async with opened(parse_connection_string(sentinels.address)) as clients:
            assert await values_read(clients) == [b"1", b"2"]
            former = await asyncio.to_thread(sentinels.kill_primary)
            await asyncio.to_thread(sentinels.await_other_primary, former)
            assert await eventually(lambda: values_if_connected(clients)) == [b"1", b"2"]


async def values_if_connected(clients: AppClients) -> list[object]:
    """Return what the clients read; nothing while one of them has lost its connection, as no command is repeated."""
    with contextlib.suppress(redis.exceptions.RedisError):
        return await values_read(clients)
    return []


async def test_a_cluster() -> None:
    """Both clients send each command to the node that has its key."""
    with Cluster(RELEASES["valkey-9.1"]) as cluster:
        async with opened(parse_connection_string(cluster.address), is_cluster=True) as clients:
            assert await values_read(clients) == [b"1", b"2"]
            for key in map(str, range(20)):
                await clients.on_loop.set(key, key)
                assert await clients.on_loop.get(key) == key.encode()
            with cluster.client() as plain:
                assert plain.get("19") == "19"


class Identity(IdentityProviderInterface):
    """Returns numbered tokens for an hour."""

    def __init__(self) -> None:
        self.requests = 0

    def request_token(self, force_refresh: bool = False) -> SimpleToken:
        self.requests += 1
        now = time.time() * 1000
        return SimpleToken(f"token-{self.requests}", now + 3_600_000, now, {"oid": "someone"})


def test_tokens_on_threads() -> None:
    """A token is requested on the thread that needs one, and kept until it is to be renewed."""
    identity = Identity()
    tokens = EntraTokens(lambda: identity, None)
    assert [tokens.get_credentials() for _ in range(3)] == [("someone", "token-1")] * 3
    tokens.renew_at = 0.0
    assert tokens.get_credentials() == ("someone", "token-2")
