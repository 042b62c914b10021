"""`triggerfish explain` for a running scaler, and for a ScaledObject's metadata."""

from collections.abc import AsyncIterator
from itertools import takewhile

import pytest
import redis.asyncio
from aiohttp import web
from grpc import StatusCode

from listeners.runtime.http import serve
from tests.support.running_scaler import RunningScaler, failure, running_scaler
from tests.support.waiting import eventually
from tests.triggerfish.cli.test_probe import triggerfish
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders returns", "function": "handle", "messagesPerWorker": "10"}
HEADER = "function reads length in flight pending lag backlog per worker target"


def rows(text: str) -> list[str]:
    """Return the lines of a table with single spaces between words."""
    return [" ".join(line.split()) for line in text.splitlines()]


def table(text: str) -> list[str]:
    """Return the rows of the table, without the lines below it."""
    return list(takewhile(bool, rows(text)))


def url_of(scaler: RunningScaler) -> str:
    """Return a scaler's HTTP address."""
    return f"http://127.0.0.1:{scaler.server.http_port}"


async def test_a_running_scaler(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """The table has the same rows as for an app, with their ScaledObjects; control characters are escaped."""
    await client.rpush("orders", *range(25))
    await client.rpush("returns", *range(6))
    await scaler.keda.poll(LIST, name="till")
    await scaler.keda.poll({"type": "redisPubSubTrigger", "channel": "p", "function": "[red]\x1b[2J"}, name="prices")
    explained = await triggerfish("explain", "--scaler", url_of(scaler) + "/")
    assert (explained.code, explained.errors) == (0, "")
    assert table(explained.output) == [
        f"scaledobject {HEADER}",
        r"shop/prices [red]\x1b[2J channel p - - - - - - 1",
        "shop/till handle orders 25 0 - -",
        "returns 6 0 - - 31 10 4",
    ]


async def test_an_unknown_target(scaler: RunningScaler) -> None:
    """A trigger that could not be measured is listed with the reason; exit status 1."""
    with failure(StatusCode.FAILED_PRECONDITION):
        await scaler.keda.target({**LIST, "connection": "queue"}, name="till")
    explained = await triggerfish("explain", "--scaler", url_of(scaler))
    assert explained.code == 1
    assert explained.errors.startswith("shop/till/handle: invalid connection 'queue'")
    assert "configuration ? ? ? ? ? 10 held" in rows(explained.output)[1]


async def test_a_scaler_without_triggers(scaler: RunningScaler) -> None:
    """If there is nothing to explain, the output states the next step; exit status 0."""
    explained = await triggerfish("explain", "--scaler", url_of(scaler))
    assert explained.code == 0
    assert "Create a ScaledObject" in explained.output


async def test_triggers_in_the_settings(server: Server) -> None:
    """Declared triggers are listed by their names in the settings, in the order of these."""
    unnamed = {name: value for name, value in LIST.items() if name != "function"}
    declared = {name: {**unnamed, "keys": name[::-1]} for name in ("zebra", "payments", "orders")}
    async with running_scaler(server, triggers=declared) as scaler:
        await eventually(lambda: all(tracked.known for tracked in scaler.server.evaluator.tracked()))
        explained = await triggerfish("explain", "--scaler", url_of(scaler))
    assert [row.partition(" ")[0] for row in table(explained.output)] == ["function", "orders", "payments", "zebra"]


async def test_metadata_without_a_function(server: Server) -> None:
    """A trigger without a name is listed by what it reads."""
    given = ("-m", "type=RedisListTrigger", "-m", "keys=orders")
    explained = await triggerfish("explain", *given, "--connection", server.address)
    assert rows(explained.output)[1].startswith("list orders list orders 0")


@pytest.fixture
async def other_page() -> AsyncIterator[str]:
    """The address of a server that is not a scaler: it returns JSON below /json, and otherwise 404."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"triggers": [{"path": "x"}]})

    app = web.Application()
    app.add_routes([web.get("/json/{rest:.*}", answer)])
    runner, port = await serve(app, "127.0.0.1", 0, field="port")
    yield f"http://someone:hunter2@127.0.0.1:{port}"
    await runner.cleanup()


async def test_an_address_without_a_scaler(other_page: str) -> None:
    """Another server, or none, is reported in one line without a traceback or a password; exit status 1."""
    addresses = {
        other_page: "status 404",
        f"{other_page}/json": "unexpected reply",
        f"http://someone:hunter2@127.0.0.1:{free_port()}": "cannot be reached",
    }
    for address, words in addresses.items():
        explained = await triggerfish("explain", "--scaler", address)
        assert (explained.code, explained.output) == (1, "")
        [line] = explained.errors.splitlines()
        assert words in line
        assert "hunter2" not in line


async def test_metadata(server: Server, client: redis.asyncio.Redis) -> None:
    """The trigger in a ScaledObject's metadata is measured on the Redis of the settings."""
    await client.rpush("orders", *range(25))
    given = [argument for key, value in LIST.items() for argument in ("--metadata", f"{key}={value}")]
    explained = await triggerfish("explain", *given, "--connection", server.address)
    assert explained.code == 0, explained
    assert rows(explained.output) == [HEADER, "handle orders 25 0 - -", "returns 0 0 - - 25 10 3"]
    gone = await triggerfish("explain", *given, "--connection", f"127.0.0.1:{free_port()}")
    assert gone.code == 1
    assert gone.errors.startswith("handle: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["No app was found", "--scaler", "--metadata"]),
        (["shop.py", "--scaler", "http://localhost:8080"], ["an app", "--scaler"]),
        (["shop.py", "-m", "keys=a"], ["an app", "--metadata"]),
        (["--scaler", "localhost:8080"], ["--scaler", "http://localhost:8080"]),
        (["--scaler", "http://["], ["--scaler", "http://localhost:8080"]),
        (["-m", "type=RedisListTrigger"], ["keys", "needs it"]),
        (["-m", "keys=a"], ["type", "RedisListTrigger"]),
        (["-m", "type=RedisListTrigger", "-m", "keys=a", "-m", "connection=cache"], ["'cache'", "CONNECTIONS__CACHE"]),
    ],
)
async def test_mistakes(arguments: list[str], words: list[str]) -> None:
    """Invalid arguments exit with status 2 and one line with the fix."""
    explained = await triggerfish("explain", *arguments)
    assert (explained.code, explained.output) == (2, "")
    [line] = explained.errors.splitlines()
    assert all(word in line for word in words), line
