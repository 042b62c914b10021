"""The dead letters of functions that fail."""

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import redis.asyncio

from tests.servers.catalogue import REPRESENTATIVE
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import KEY, KINDS, Kind, add, both_kinds, dead_letters, trigger
from tests.support.waiting import eventually
from triggerfish import App, RedisMessage

pytestmark = [pytest.mark.usefixtures("quick_retries", "quick_reclaims"), pytest.mark.releases(*REPRESENTATIVE)]

SECRET = "hunter2"
release = threading.Event()


@pytest.fixture(autouse=True)
def _quick_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give cancelled functions little time to clean up."""
    monkeypatch.setattr("listeners.engine.calling.executor.CLEAN_UP_SECONDS", 0.05)
    release.clear()


async def on_loop(message: RedisMessage) -> None:
    await asyncio.sleep(0)
    raise ValueError("no good")


def on_thread(message: RedisMessage) -> None:
    raise ValueError("no good")


def in_a_library(message: RedisMessage) -> None:
    json.loads("{" + message.message[:0])


class Wrong:
    async def method(self, message: RedisMessage) -> None:
        deeper(message.message)


def deeper(payload: str) -> None:
    if payload:
        raise ValueError("no good")


async def cancelled(message: RedisMessage) -> None:
    await asyncio.Event().wait()


async def stubborn(message: RedisMessage) -> None:
    while not release.is_set():
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            continue


def stuck(message: RedisMessage) -> None:
    release.wait()


WHERE: list[tuple[Callable[[RedisMessage], Awaitable[None] | None], str, str]] = [
    (on_loop, "ValueError: no good", "on_loop"),
    (on_thread, "ValueError: no good", "on_thread"),
    (in_a_library, "JSONDecodeError", "in_a_library"),
    (Wrong().method, "ValueError: no good", "deeper"),
    (cancelled, "CallTimeoutError", "cancelled"),
    (stubborn, "CallTimeoutError", "stubborn"),
    (stuck, "CallTimeoutError", "stuck"),
]


@pytest.mark.parametrize(
    ("function", "error", "function_name"), WHERE, ids=lambda value: getattr(value, "__name__", None)
)
async def test_the_line_that_failed_is_kept(
    client: redis.asyncio.Redis,
    run_host: RunHost,
    function: Callable[[RedisMessage], Awaitable[None] | None],
    error: str,
    function_name: str,
) -> None:
    """A dead letter names the innermost line of user code that failed or timed out, and contains no values."""
    app = App()
    app.list_trigger(keys=KEY, max_deliveries=1, call_timeout_seconds=0.2)(function)
    await client.rpush(KEY, SECRET)
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
        release.set()
    (letter,) = await dead_letters(client)
    assert letter[b"error"].decode().startswith(error)
    assert re.fullmatch(rf".*test_dead_letters\.py:\d+ in {function_name}", letter[b"where"].decode())
    assert letter[b"payload"] == SECRET.encode()
    assert SECRET not in " ".join(value.decode() for name, value in letter.items() if name != b"payload")


@both_kinds
async def test_the_description_of_an_entry_is_bounded(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """The text of an exception is truncated, whatever its length; the entry is kept whole."""
    app, payload = App(), "p" * 100_000

    @trigger(app, kind, max_deliveries=1)
    async def on_entry(message: RedisMessage) -> None:
        raise ValueError("e" * 1_000_000)

    await add(client, kind, payload)
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
    (letter,) = await dead_letters(client)
    assert (letter.get(b"payload") or letter[b"field:payload"]) == payload.encode()
    assert sum(len(value) for value in letter.values()) < len(payload) + 11_000
    assert len(caplog.text) < 5000


class BrokenStrError(Exception):
    def __str__(self) -> str:
        raise ValueError


@dataclass
class Order:
    payload: str

    def __post_init__(self) -> None:
        raise BrokenStrError


@pytest.mark.parametrize("kind", KINDS)
async def test_a_validator_raises_an_exception_without_text(
    client: redis.asyncio.Redis, run_host: RunHost, kind: Kind
) -> None:
    """An entry whose conversion raises any exception is dead-lettered at once, even if its __str__ raises too."""
    app = App()

    @trigger(app, kind)
    async def on_entry(order: Order) -> None: ...

    await add(client, kind, '{"payload": "a"}')
    async with run_host(app):
        await eventually(lambda: dead_letters(client))
    (letter,) = await dead_letters(client)
    assert letter[b"error"] == b"Reject: BrokenStrError"
    assert letter[b"where"].endswith(b"in Order.__post_init__")
