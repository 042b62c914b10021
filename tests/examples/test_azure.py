"""The examples of Azure Functions, as real processes: Microsoft's tutorials for a cache with a database behind it."""

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.programs.commands import Command, running_command
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1", "redis-6.2")
EXAMPLES = Path(__file__).parents[2] / "examples" / "azure"


@pytest.fixture
def project(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[tuple[Path, Command]]:
    """A copy of an example that runs, with the server as the connection of its app settings."""
    folder = shutil.copytree(EXAMPLES / request.param, tmp_path / request.param)
    settings = folder / "local.settings.json"
    settings.write_text(settings.read_text().replace("127.0.0.1:6379", server.address))
    with sqlite3.connect(folder / "shop.db") as database:
        database.execute("CREATE TABLE products (key TEXT PRIMARY KEY, value TEXT)")
        database.execute("INSERT INTO products VALUES ('book', '12.50')")
    with running_command(tmp_path, "run", request.param) as command:
        yield folder, command


def stored(folder: Path) -> dict[str, str]:
    """Return what the database has."""
    with sqlite3.connect(folder / "shop.db") as database:
        return dict(database.execute("SELECT key, value FROM products"))


@pytest.mark.parametrize("project", ["write-behind"], indirect=True)
async def test_write_behind(project: tuple[Path, Command], client: redis.asyncio.Redis) -> None:
    """What is set or added to the stream is stored in the database, and the entry is deleted."""
    folder, command = project
    await client.config_set("notify-keyspace-events", "KEA")
    await command.logged("write-behind runs as")
    await eventually(lambda: subscribed(client, "__keyevent@0__:set"))
    await client.set("pen", "3")
    await client.xadd("orders", {"key": "order:1", "value": "two books"})
    await eventually(lambda: stored(folder) == {"book": "12.50", "pen": "3", "order:1": "two books"})
    await eventually(lambda: is_empty(client, "orders"))
    assert "stored pen" in command.errors
    assert await command.terminate() == 0


@pytest.mark.parametrize("project", ["read-through"], indirect=True)
async def test_read_through_and_invalidation(project: tuple[Path, Command], client: redis.asyncio.Redis) -> None:
    """A key that is missed is filled from the database, and deleted when its product has changed."""
    _, command = project
    await client.config_set("notify-keyspace-events", "Em")
    await command.logged("read-through runs as")
    await eventually(lambda: subscribed(client, "__keyevent@0__:keymiss"))
    assert await client.get("book") is None  # once: every miss has a call
    await eventually(lambda: exists(client, "book"))
    assert await client.get("book") == b"12.50"
    await client.xadd("products:changed", {"key": "book"})
    await eventually(lambda: is_deleted(client, "book"))
    assert await command.terminate() == 0


async def subscribed(client: redis.asyncio.Redis, channel: str) -> bool:
    """Return whether the channel has a subscriber."""
    return bool(dict(await client.pubsub_numsub(channel))[channel.encode()])


async def exists(client: redis.asyncio.Redis, key: str) -> bool:
    """Return whether a key exists. EXISTS and TYPE may be misses themselves, whose calls would fill the key again."""
    return bool(await client.keys(key))


async def is_deleted(client: redis.asyncio.Redis, key: str) -> bool:
    """Return whether a key does not exist."""
    return not await exists(client, key)


async def is_empty(client: redis.asyncio.Redis, stream: str) -> bool:
    """Return whether a stream has no entries."""
    return not await client.xlen(stream)
