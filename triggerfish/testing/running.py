"""Runs a whole app in a test's event loop, on an embedded Valkey."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from pydantic import SecretStr

from listeners.connections.named import ConnectionReference, Connections
from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string
from listeners.dead_letters.letters import DeadLetter
from listeners.dead_letters.store import DeadLetters
from listeners.errors import ConfigurationError, SourceError
from listeners.functions.app import App, Function
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger, PubSubTrigger
from listeners.host.host import Host
from listeners.redis.client import Client
from listeners.redis.entry_id import EntryId
from listeners.settings import HostSettings
from triggerfish.testing.entries import TestEntry, entry_for, function_of
from triggerfish.testing.server import Server, embedded_binary
from triggerfish.unfinished import Unfinished

__all__ = ["RunningApp", "running"]

START_SECONDS = 10.0
#: How long calls that still run when the test ends may take.
GRACE_SECONDS = 1.0
IDLE_PAUSE_SECONDS = 0.01
PUBLISH_PAUSE_SECONDS = 0.01


@dataclass(frozen=True)
class _OneServer(Connections):
    """Every connection of an app leads to one server, those that it names and those by connection string as well."""

    def resolve(self, reference: ConnectionReference) -> ConnectionSpec:
        return self._default


class RunningApp:
    """An app that runs in this process. `server` is its Redis, and `client` a client like `context.redis`: replies are
    bytes.
    """

    def __init__(
        self, app: App, server: Server, connections: Connections, host: Host, running_host: asyncio.Task[None]
    ) -> None:
        self.server = server
        self.client = redis.asyncio.Redis(port=server.port, protocol=2)
        self._app = app
        self._host = host
        self._running_host = running_host
        self._unfinished = Unfinished(app, connections)
        self._letters = Client(parse_connection_string(server.address), "triggerfish:testing")

    async def push(self, function: str | Callable[..., Any], *entries: TestEntry) -> None:
        """Add entries to what a function reads: the first of its lists or streams, or its channel.

        A RedisMessage may name another of them. Raises ConfigurationError for what the trigger cannot deliver.
        """
        found = function_of(self._app, function)
        for entry in [entry_for(found, each) for each in entries]:
            await self._push(found, entry)

    async def until_idle(self, seconds: float = 30.0) -> None:
        """Wait until every function has handled everything: nothing waits, for a retry neither, and nothing runs.

        Raises TimeoutError with what is left after `seconds`.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._while_running(self._unfinished.wait_until_empty(self._host, IDLE_PAUSE_SECONDS))
        except TimeoutError:
            await self._unfinished.measure()
            left = {name: found for name, found in self._unfinished.last.items() if found}
            found = ", ".join(f"{name}: {_described(each)}" for name, each in left.items()) or "calls still run"
            raise TimeoutError(
                f"not idle within {seconds:g} s ({found}). Give until_idle() more seconds, or test a retry with call()"
            ) from None

    async def dead_letters(self, function: str | Callable[..., Any]) -> list[DeadLetter]:
        """Return the dead letters of a function, oldest first for each key: `error`, `entry`, `traceback` and more."""
        found = function_of(self._app, function)
        if isinstance(found.trigger, PubSubTrigger):
            fix = "A pub/sub message whose call fails is dropped, not dead-lettered. Use a list or stream function."
            raise ConfigurationError("function", found.name, fix)
        store = DeadLetters(self._letters, found.trigger, found.name)
        letters: list[DeadLetter] = []
        for key in found.trigger.keys:
            ids = [letter.id async for letter in store.newest_first(key)]
            full = [await store.find(key, EntryId.parse(letter_id)) for letter_id in reversed(ids)]
            letters += [letter for letter in full if isinstance(letter, DeadLetter)]
        return letters

    async def until_ready(self) -> None:
        """Wait until every function is read. It is when the block of `running` begins."""
        async with asyncio.timeout(START_SECONDS):
            ready = [listener.ready.wait() for listener in self._host.listeners]
            await self._while_running(asyncio.gather(*ready))

    async def close(self) -> None:
        """Disconnect."""
        await self._unfinished.close()
        await self._letters.aclose()
        await self.client.aclose()

    async def _while_running(self, awaited: Awaitable[object]) -> None:
        """Wait for something of the host, or raise the host's error if it ends before."""
        waiting = asyncio.ensure_future(awaited)
        try:
            await asyncio.wait({waiting, self._running_host}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                await waiting
            else:
                await self._running_host
                raise RuntimeError("the app has ended: a function has stopped it, or a signal")
        finally:
            waiting.cancel()

    async def _push(self, function: Function, entry: Entry) -> None:
        trigger = function.trigger
        if isinstance(trigger, ListTrigger):
            command = "RPUSH" if trigger.list_pop_from_beginning else "LPUSH"
            await self.client.execute_command(command, entry.key, entry.payload or b"")
        elif isinstance(trigger, PubSubTrigger):
            await self._publish(entry)
        else:
            await self.client.execute_command("XADD", entry.key, "*", *(entry.flat_fields or ()))

    async def _publish(self, entry: Entry) -> None:
        """Publish a message once the function has subscribed. A message without a subscriber is lost, so try again."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                if await self.client.execute_command("PUBLISH", entry.key, entry.payload or b""):
                    return
                await asyncio.sleep(PUBLISH_PAUSE_SECONDS)


@contextlib.asynccontextmanager
async def running(app: App, server: Server | None = None) -> AsyncIterator[RunningApp]:
    """Run an app on an embedded Valkey of its own, or on `server`, until the block ends. Nothing is left running.

    All connections of the app lead to this server. Calls that still run at the end of the block are cancelled after a
    second. Raises MissingExtraError without the extra `demo`.
    """
    with contextlib.ExitStack() as stack:
        server = server or stack.enter_context(Server(embedded_binary()))
        connections = _OneServer(SecretStr(server.address))
        # A pod that runs the tests has no use for leases in Kubernetes.
        host = Host(app, connections, HostSettings(grace_period_seconds=GRACE_SECONDS, pubsub_lease="redis"))
        running_host = asyncio.create_task(host.run())
        started = RunningApp(app, server, connections, host, running_host)
        try:
            await started.until_ready()
            yield started
        finally:
            host.drain()
            try:
                await running_host
            finally:
                await started.close()


def _described(found: int | SourceError) -> str:
    return str(found) if isinstance(found, SourceError) else f"{found} unfinished"
