"""The baseline: a hand-written loop with redis-py and hiredis that takes, calls and settles in sequence.

It uses the same commands, scripts and guarantees as Triggerfish, but has no time limits, renewals, retries or metrics.
Arguments: `each` settles every entry after its call; `together` settles a batch at once; `uvloop` runs on uvloop.
"""

import asyncio
import contextlib
import itertools
import os
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio
import uvloop
from redis.exceptions import ResponseError

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import GROUP, KEY, Scenario
from listeners.redis.scripts import load_script

Handler = Callable[[Any], Awaitable[None]]

LEASE_MS = 30_000
MAX_BYTES = 32 * 1024 * 1024
LIST_KEYS = (KEY, f"triggerfish:{{{KEY}}}:inflight", f"triggerfish:{{{KEY}}}:elements")

tally = Tally()


async def handle(_entry: object) -> None:
    """Handle one entry."""
    tally.handled()


async def handle_batch(entries: list[Any]) -> None:
    """Handle a batch."""
    tally.handled(len(entries))


async def lists(client: redis.asyncio.Redis, scenario: Scenario, together: bool) -> None:
    """Read with Triggerfish's scripts, which record elements in flight with a lease."""
    scripts = [load_script("listeners.lists.scripts", "common", name) for name in ("take", "settle")]
    take, settle = [await client.script_load(script.source) for script in scripts]
    token = secrets.token_hex(6)
    for number in itertools.count(step=scenario.batch):
        *_, taken = await client.evalsha(take, 3, *LIST_KEYS, token, number, LEASE_MS, scenario.batch, MAX_BYTES, 1)
        if not taken:
            await asyncio.sleep(0.01)
        members = taken[::3]
        elements = [payload.decode() for payload in taken[2::3]]
        if scenario.batch_calls:
            await handle_batch(elements)
        else:
            for member, element in zip(members, elements, strict=True):
                await handle(element)
                if not together:
                    await client.evalsha(settle, 3, *LIST_KEYS, 1, member)
        if members and (together or scenario.batch_calls):
            await client.evalsha(settle, 3, *LIST_KEYS, len(members), *members)


async def popping(client: redis.asyncio.Redis, scenario: Scenario, _together: bool) -> None:
    """Read with LPOP and a count: at most once."""
    while True:
        popped: Any = await client.lpop(KEY, scenario.batch)
        elements = [element.decode() for element in popped or ()]
        if not elements:
            await asyncio.sleep(0.01)
        elif scenario.batch_calls:
            await handle_batch(elements)
        else:
            for element in elements:
                await handle(element)


async def streams(client: redis.asyncio.Redis, scenario: Scenario, together: bool) -> None:
    """Read with XREADGROUP and XACK."""
    with contextlib.suppress(ResponseError):  # another process has created it
        await client.xgroup_create(KEY, GROUP, "0", mkstream=True)
    while True:
        reply: Any = await client.xreadgroup(GROUP, "plain", {KEY: ">"}, count=scenario.batch, block=1000)
        for _, raw in reply:
            entries = [(entry_id, {n.decode(): v.decode() for n, v in fields.items()}) for entry_id, fields in raw]
            if scenario.batch_calls:
                await handle_batch([fields for _, fields in entries])
            else:
                for entry_id, fields in entries:
                    await handle(fields)
                    if not together:
                        await client.xack(KEY, GROUP, entry_id)
            if together or scenario.batch_calls:
                await client.xack(KEY, GROUP, *(entry_id for entry_id, _ in entries))


async def pubsub(client: redis.asyncio.Redis, _scenario: Scenario, _together: bool) -> None:
    """Read with SUBSCRIBE."""
    subscription = client.pubsub()
    await subscription.subscribe(KEY)
    async for message in subscription.listen():
        if message["type"] == "message":
            await handle(message["data"].decode())


async def main(together: bool) -> None:
    """Read until the process is killed."""
    scenario = Scenario.from_environment()
    loops = {"list": lists if scenario.delivery == "at-least-once" else popping, "stream": streams, "pubsub": pubsub}
    async with redis.asyncio.Redis(port=int(os.environ["BENCH_PORT"]), protocol=2) as client:
        await loops[scenario.kind](client, scenario, together)


if __name__ == "__main__":
    run = uvloop.run if "uvloop" in sys.argv else asyncio.run
    run(main("together" in sys.argv))
