"""Draws faults from a seed, one after the other, and counts them."""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping

from tests.chaos.hosts import Hosts
from tests.chaos.scenario import Fault

__all__ = ["disturb", "host_faults"]


def host_faults(hosts: Hosts, rng: random.Random) -> Mapping[str, Fault]:
    """The faults that befall host processes."""

    async def kill() -> None:
        await hosts.kill(rng.randrange(hosts.number))

    async def drain() -> None:
        await hosts.drain(rng.randrange(hosts.number))

    return {"host: SIGKILL": kill, "host: SIGTERM": drain}


async def disturb(
    faults: Mapping[str, Fault],
    rng: random.Random,
    pause_seconds: tuple[float, float],
    stop: asyncio.Event,
    counts: Counter[str],
    *,
    rounds: int | None,
) -> None:
    """Do one fault after the other, with pauses from and to so many seconds between, until `stop` is set.

    With `rounds` each is done so often instead, without pauses once `stop` is set. Which faults, and how long the
    pauses are, follows from `rng` alone. `counts` counts what was done.
    """
    for name in _in_rounds(list(faults), rng, rounds):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(rng.uniform(*pause_seconds)):
                await stop.wait()
        if stop.is_set() and rounds is None:
            return
        counts[name] += 1
        await faults[name]()


def _in_rounds(names: list[str], rng: random.Random, rounds: int | None) -> Iterator[str]:
    """Names, without end if there is no number of rounds; each comes once before any comes again."""
    for _ in itertools.count() if rounds is None else range(rounds):
        yield from rng.sample(names, len(names))
