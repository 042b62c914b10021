"""Stream sources that tests drive directly, and what Redis records about their entries."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import redis.asyncio
from prometheus_client import CollectorRegistry

from listeners.connections.strings import parse_connection_string
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.engine.settlement import Failure, Outcome, Settlement
from listeners.functions.entries import Entry
from listeners.functions.triggers import StreamTrigger
from listeners.streams.source import StreamSource
from listeners.text import decode
from tests.support.clients import shared_client
from tests.support.network.cutting import CuttingLink
from tests.support.running_host import Addressed
from tests.support.waiting import eventually

KEY = "work"
GROUP = "group"
#: Longer than any test, so that no lease ends by itself.
LONG = 600.0
MAX_BYTES = 2**30


def metrics() -> FunctionMetrics:
    """Return the metrics of one function."""
    return FunctionMetrics(HostMetrics(CollectorRegistry()), "app", "function")


@contextlib.asynccontextmanager
async def opened(
    server: Addressed,
    instance: str = "a",
    *,
    keys: Sequence[str] = (KEY,),
    lease_seconds: float = LONG,
    measured: FunctionMetrics | None = None,
    **options: Any,
) -> AsyncIterator[StreamSource]:
    """An open source of one instance. Its background work is run by the test: see `maintained`."""
    watched = not isinstance(server, CuttingLink)  # a test cuts the connection for commands
    async with shared_client(parse_connection_string(server.address), watched=watched) as shared:
        source = StreamSource(
            StreamTrigger(keys=tuple(keys), consumer_group=GROUP, polling_interval_ms=20, **options),
            "function",
            shared.commands,
            shared.leases,
            shared.watch,
            instance=instance,
            lease_seconds=lease_seconds,
            metrics=measured or metrics(),
        )
        await source.open()
        try:
            yield source
        finally:
            await source.close()


@contextlib.asynccontextmanager
async def maintained(*sources: StreamSource) -> AsyncIterator[None]:
    """Run the background work of sources during the block."""

    async def maintain(source: StreamSource) -> None:
        while True:
            await source.maintain()

    tasks = [asyncio.create_task(maintain(source)) for source in sources]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def add(client: redis.asyncio.Redis, *payloads: str, key: str = KEY) -> list[str]:
    """Add entries with one field each. Return their IDs."""
    return [decode(await client.execute_command("XADD", key, "*", "payload", payload)) for payload in payloads]


async def take(source: StreamSource, number: int = 1) -> list[Entry]:
    """Take exactly this many entries."""
    entries: list[Entry] = []

    async def taken() -> bool:
        entries.extend(await source.take(number - len(entries), MAX_BYTES))
        return len(entries) == number

    await eventually(taken)
    return entries


async def take_suspect(source: StreamSource) -> Entry:
    """Take a suspect, which the background work has to find first."""
    suspect = await eventually(source.take_suspect)
    assert isinstance(suspect, Entry)
    return suspect


def settlement(entry: Entry, outcome: Outcome, *, delay_ms: int = 0) -> Settlement:
    """Return what the engine passes to a source after a call."""
    failure = None if outcome is Outcome.SUCCEEDED else Failure("ValueError: bad", traceback="Traceback ...")
    return Settlement(entry, outcome, delay_ms, failure)


async def settle(source: StreamSource, outcome: Outcome, *entries: Entry, delay_ms: int = 0) -> None:
    """Settle entries, none of which is refused."""
    assert await source.settle([settlement(entry, outcome, delay_ms=delay_ms) for entry in entries]) == []


async def recorded(client: redis.asyncio.Redis, *, key: str = KEY) -> list[tuple[str, str, int]]:
    """Return ID, consumer and delivery count of the pending entries."""
    return [
        (decode(row["message_id"]), decode(row["consumer"]), row["times_delivered"])
        for row in await pending(client, key=key)
    ]


async def lapse(client: redis.asyncio.Redis, entry_id: str | None, *, key: str = KEY) -> None:
    """Make a pending entry look as if its lease ended an hour ago, as that of a dead instance does."""
    ((_, consumer, count),) = [row for row in await recorded(client, key=key) if row[0] == entry_id]
    await claim(client, consumer, entry_id, "IDLE", 3_600_000, "RETRYCOUNT", count, key=key)


async def claim(
    client: redis.asyncio.Redis, consumer: str, entry_id: str | None, *options: str | int, key: str = KEY
) -> None:
    """Claim an entry for a consumer."""
    await client.execute_command("XCLAIM", key, GROUP, consumer, 0, entry_id, *options, "JUSTID", parse_justid=True)


async def dead_letters(client: redis.asyncio.Redis, *, key: str = KEY) -> list[dict[bytes, bytes]]:
    """Return the fields of the dead letters, oldest first."""
    return [fields for _, fields in await client.execute_command("XRANGE", f"triggerfish:{{{key}}}:dead", "-", "+")]


async def idle_ms(client: redis.asyncio.Redis, *, key: str = KEY) -> list[int]:
    """Return the idle times of the pending entries."""
    return [row["time_since_delivered"] for row in await pending(client, key=key)]


async def pending(client: redis.asyncio.Redis, *, key: str = KEY) -> list[dict[str, Any]]:
    """Return the pending entries as redis-py describes them."""
    rows: list[dict[str, Any]] = await client.xpending_range(key, GROUP, "-", "+", 10_000)
    return rows
