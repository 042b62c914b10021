"""`triggerfish explain` for a scaler that runs, and for a ScaledObject's metadata."""

from collections.abc import AsyncIterator

import pytest
import redis.asyncio
from aiohttp import web
from grpc import StatusCode

from listeners.runtime.http import serve
from tests.support.running_scaler import Running, failure
from tests.triggerfish.cli.test_probe import triggerfish
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders returns", "function": "handle", "messagesPerWorker": "10"}
HEADER = "function reads length in flight pending lag backlog per worker target"


def rows(text: str) -> list[str]:
    """The lines of a table, with one space between words."""
    return [" ".join(line.split()) for line in text.splitlines()]


def url_of(scaler: Running) -> str:
    """A scaler's HTTP address."""
    return f"http://127.0.0.1:{scaler.server.http_port}"


async def test_a_running_scaler(scaler: Running, client: redis.asyncio.Redis) -> None:
    """The table has the rows that it has for an app, and says whose they are; names cannot write on the terminal."""
    await client.rpush("orders", *range(25))
    await client.rpush("returns", *range(6))
    await scaler.keda.poll(LIST, name="till")
    await scaler.keda.poll({"type": "redisPubSubTrigger", "channel": "p", "function": "[red]\x1b[2J"}, name="prices")
    explained = await triggerfish("explain", "--scaler", url_of(scaler) + "/")
    assert (explained.code, explained.errors) == (0, "")
    assert rows(explained.said) == [
        f"scaledobject {HEADER}",
        r"shop/prices [red]\x1b[2J channel p - - - - - - 1",
        "shop/till handle orders 25 0 - -",
        "returns 6 0 - - 31 10 4",
    ]


async def test_a_scaler_that_does_not_know(scaler: Running) -> None:
    """A trigger that the scaler does not know is named with the reason; code 1."""
    with failure(StatusCode.FAILED_PRECONDITION):
        await scaler.keda.target({**LIST, "connection": "queue"}, name="till")
    explained = await triggerfish("explain", "--scaler", url_of(scaler))
    assert explained.code == 1
    assert explained.errors.startswith("shop/till: invalid connection 'queue'")
    assert "configuration ? ? ? ? ? 10 held" in rows(explained.said)[1]


async def test_a_scaler_that_nobody_asks(scaler: Running) -> None:
    """Where there is nothing to explain, what to do next is said; code 0."""
    explained = await triggerfish("explain", "--scaler", url_of(scaler))
    assert explained.code == 0
    assert "create a ScaledObject" in explained.said


@pytest.fixture
async def other_page() -> AsyncIterator[str]:
    """The address of something that is no scaler: it answers any path below /json with JSON, and others with 404."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"triggers": [{"path": "x"}]})

    app = web.Application()
    app.add_routes([web.get("/json/{rest:.*}", answer)])
    runner, port = await serve(app, "127.0.0.1", 0, setting="port")
    yield f"http://someone:hunter2@127.0.0.1:{port}"
    await runner.cleanup()


async def test_what_is_no_scaler(other_page: str) -> None:
    """Something that answers otherwise, or nothing at all, is one line and code 1, without a traceback or password."""
    addresses = {
        other_page: "status 404",
        f"{other_page}/json": "something else",
        f"http://someone:hunter2@127.0.0.1:{free_port()}": "cannot be reached",
    }
    for address, words in addresses.items():
        explained = await triggerfish("explain", "--scaler", address)
        assert (explained.code, explained.said) == (1, "")
        [line] = explained.errors.splitlines()
        assert words in line
        assert "hunter2" not in line


async def test_metadata(server: Server, client: redis.asyncio.Redis) -> None:
    """The trigger of a ScaledObject's metadata is measured on the Redis of the settings."""
    await client.rpush("orders", *range(25))
    given = [argument for key, value in LIST.items() for argument in ("--metadata", f"{key}={value}")]
    explained = await triggerfish("explain", *given, "--connection", server.address)
    assert explained.code == 0, explained
    assert rows(explained.said) == [HEADER, "handle orders 25 0 - -", "returns 0 0 - - 25 10 3"]
    gone = await triggerfish("explain", *given, "--connection", f"127.0.0.1:{free_port()}")
    assert gone.code == 1
    assert gone.errors.startswith("handle: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["an app", "--scaler", "--metadata"]),
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
    """A mistake in the arguments is code 2 and one line that says what to give."""
    explained = await triggerfish("explain", *arguments)
    assert (explained.code, explained.said) == (2, "")
    [line] = explained.errors.splitlines()
    assert all(word in line for word in words), line
