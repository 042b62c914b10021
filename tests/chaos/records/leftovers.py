"""Reads what is left on the servers after a run, over connections without faults."""

from collections import Counter

import redis.asyncio

from listeners.keys import dead_letters_key, elements_key, inflight_key
from tests.chaos.hosts.keys import EMPTIED_STREAM, GROUP, KEYS, LISTS
from tests.chaos.records.letters import Letter, letters_in
from tests.chaos.scenarios.scenario import Scenario, client

__all__ = ["dead_letters", "leftovers"]

TIMEOUT_SECONDS = 10.0


async def leftovers(scenario: Scenario) -> dict[str, int]:
    """Return the numbers of unfinished entries by description; empty if there are none.

    Raises RedisError or OSError.
    """
    left: Counter[str] = Counter()
    for key in KEYS:
        async with client(await scenario.direct_port_of(key), TIMEOUT_SECONDS) as direct:
            await (_of_list(direct, key, left) if key in LISTS else _of_stream(direct, key, left))
    return {name: number for name, number in left.items() if number}


async def dead_letters(scenario: Scenario) -> list[Letter]:
    """Return all dead letters, including those that were flushed."""
    letters = list(scenario.flushed.dead_letters)
    for key in KEYS:
        async with client(await scenario.direct_port_of(key), TIMEOUT_SECONDS) as direct:
            letters += letters_in(key, await direct.execute_command("XRANGE", dead_letters_key(key), "-", "+"))
    return letters


async def _of_list(direct: redis.asyncio.Redis, key: str, left: Counter[str]) -> None:
    left[f"{key}: waiting"] = await direct.llen(key)
    left[f"{key}: in flight"] = await direct.zcard(inflight_key(key))
    left[f"{key}: payloads in flight"] = await direct.hlen(elements_key(key))


async def _of_stream(direct: redis.asyncio.Redis, key: str, left: Counter[str]) -> None:
    if not await direct.exists(key):  # flushed, and nothing was added since
        return
    groups = {group["name"]: group for group in await direct.xinfo_groups(key)}
    if GROUP.encode() not in groups:
        left[f"{key}: without a group"] = await direct.xlen(key)
        return
    group = groups[GROUP.encode()]
    left[f"{key}: pending"] = group["pending"]
    after = b"(" + group["last-delivered-id"]
    left[f"{key}: not delivered"] = len(await direct.execute_command("XRANGE", key, after, "+", "COUNT", 1000))
    if key == EMPTIED_STREAM:
        left[f"{key}: not deleted"] = await direct.xlen(key)
