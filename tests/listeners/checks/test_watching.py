"""What `check` reports about client tracking: whether changes are reported to the scaler, and room for keys."""

from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from pydantic import SecretStr

from listeners.checks.check import CheckResult, check
from listeners.connections.named import Connections
from listeners.settings import HostSettings
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server


async def checked(address: str, *, write: bool = True) -> CheckResult:
    """Return the result for an app with one list."""
    app = App("shop")

    @app.list_trigger(keys="orders")
    async def on_element(message: RedisMessage) -> None: ...

    results = check(app, Connections(SecretStr(address)), HostSettings(), write=write)
    [result] = [result async for result in results]
    return result


@pytest.mark.releases("redis-5.0", "redis-6.0", "redis-7.2", "valkey-9.1")
@pytest.mark.parametrize("write", [True, False])
async def test_whether_changes_are_reported(
    server: Server, client: redis.asyncio.Redis, version: tuple[int, ...], write: bool
) -> None:
    """A server with client tracking reports changes, which leaves no key behind; Redis 5.0 is polled."""
    result = await checked(server.address, write=write)
    assert result.works
    if version < (6,):
        assert result.watched.startswith("the scaler polls it: Redis 5.")
    else:
        assert result.watched == "changes are reported (client tracking)"
    assert await client.dbsize() == 0


@pytest.mark.releases("redis-7.2", "valkey-9.1")
async def test_where_tracking_is_denied(server: Server, client: redis.asyncio.Redis) -> None:
    """The reason why a trigger is polled is that of the server."""
    await client.execute_command("ACL", "SETUSER", "narrow", "on", ">secret", "~*", "&*", "+@all", "-client|tracking")
    result = await checked(f"{server.address},user=narrow,password=secret")
    await client.execute_command("ACL", "DELUSER", "narrow")
    assert result.watched.startswith("the scaler polls it: CLIENT TRACKING ON")


@pytest.fixture
async def max_keys(client: redis.asyncio.Redis) -> AsyncIterator[None]:
    """Restore the limit of keys after the test."""
    before = str((await client.config_get("tracking-table-max-keys"))["tracking-table-max-keys"])
    yield
    await client.config_set("tracking-table-max-keys", before)


@pytest.mark.releases("redis-6.2", "valkey-9.1")
@pytest.mark.usefixtures("max_keys")
async def test_room_for_keys(server: Server, client: redis.asyncio.Redis) -> None:
    """A limit that is small, or nearly reached, is a risk; the default, and none at all, are not."""
    async with redis.asyncio.Redis(port=server.port, protocol=3, decode_responses=True) as tracking:
        warnings = {}
        connection = await tracking.connection_pool.get_connection()
        for command in (("CLIENT", "TRACKING", "ON"), *(("EXISTS", f"key-{number}") for number in range(20))):
            await connection.send_command(*command)
            await connection.read_response()
        for limit in (1_000_000, 0, 9_999, 20):
            await client.config_set("tracking-table-max-keys", limit)
            found = (await checked(server.address)).warnings
            warnings[limit] = [text for text in found if "tracking" in text]
        await tracking.connection_pool.release(connection)
    assert warnings[1_000_000] == warnings[0] == []
    assert "tracking-table-max-keys is 9,999" in warnings[9_999][0]
    assert "of at most 20" in warnings[20][0]
