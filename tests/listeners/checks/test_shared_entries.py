"""Functions of one app that take entries from each other, or a key for another type, as `check` reports them."""

import pytest
from pydantic import SecretStr

from listeners.checks.check import check
from listeners.connections.named import Connections
from listeners.settings import HostSettings
from triggerfish import App, RedisMessage
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")


async def warnings_of(app: App, server: Server) -> list[str]:
    """Return the warnings of `check` about entries that functions share."""
    connections = Connections(SecretStr(server.address), {"again": SecretStr(server.address)})
    results = [result async for result in check(app, connections, HostSettings())]
    return [warning for result in results for warning in result.warnings if "only a part" in warning]


async def test_functions_that_share_entries(server: Server) -> None:
    """Two functions on one stream with one group share entries, and so do two on one list; the fix is named."""
    app = App()

    @app.stream_trigger(keys="s")
    async def bill(message: RedisMessage) -> None: ...

    @app.stream_trigger(keys="other s", connection="again")
    async def ship(message: RedisMessage) -> None: ...

    @app.list_trigger(keys="a b c")
    async def first(message: RedisMessage) -> None: ...

    @app.list_trigger(keys="c b d")
    async def second(message: RedisMessage) -> None: ...

    assert await warnings_of(app, server) == [
        "ship and bill both read 's', so each gets only a part of the entries. They are both in the group "
        "'AzureFunctionRedisExtension': give each its own consumer_group",
        "second and first both read 'c' 'b', so each gets only a part of the entries. Use one function, or have the "
        "producer push to a list for each",
    ]


async def test_functions_that_share_nothing(server: Server) -> None:
    """Other keys, groups, databases or kinds, and any number of functions on one channel, are no reason to warn."""
    app = App()

    @app.stream_trigger(keys="s")
    async def bill(message: RedisMessage) -> None: ...

    @app.stream_trigger(keys="s", consumer_group="ship")
    async def ship(message: RedisMessage) -> None: ...

    @app.stream_trigger(keys="s", connection_string=f"{server.address},defaultDatabase=3")
    async def elsewhere(message: RedisMessage) -> None: ...

    @app.list_trigger(keys="a")
    async def first(message: RedisMessage) -> None: ...

    @app.list_trigger(keys="b")
    async def second(message: RedisMessage) -> None: ...

    @app.pubsub_trigger(channel="c")
    async def listen(message: RedisMessage) -> None: ...

    @app.pubsub_trigger(channel="c")
    async def listen_too(message: RedisMessage) -> None: ...

    assert await warnings_of(app, server) == []


async def test_functions_that_contradict_each_other(server: Server) -> None:
    """A key that two functions need with different types fails for the later one, even while it does not exist."""
    app = App("shop")

    @app.list_trigger(keys="a b")
    async def first(message: RedisMessage) -> None: ...

    @app.stream_trigger(keys="b")
    async def second(message: RedisMessage) -> None: ...

    @app.stream_trigger(keys="triggerfish:{b}:dead")
    async def letters(message: RedisMessage) -> None: ...

    @app.list_trigger(keys="triggerfish:{b}:elements", delivery="at-most-once")
    async def records(message: RedisMessage) -> None: ...

    @app.stream_trigger(keys="a", connection_string=f"{server.address},defaultDatabase=3")
    async def elsewhere(message: RedisMessage) -> None: ...

    results = [one async for one in check(app, Connections(SecretStr(server.address)), HostSettings())]
    broken = {one.function: one.detail.partition("; ")[2] for one in results if not one.works}
    assert broken == {
        "second": "key 'b' would have to be a stream, and for first a list: change one of the triggers",
        "records": "key 'triggerfish:{b}:elements' would have to be a list, and for first a hash: change one of the "
        "triggers",
    }
