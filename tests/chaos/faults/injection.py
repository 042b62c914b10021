"""Draws faults from a seed, injects them one at a time, and counts them."""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping

from tests.chaos.hosts.processes import Hosts
from tests.chaos.scenarios.scenario import Fault

__all__ = ["host_faults", "inject_faults"]

#: How long a host is suspended, in leases.
SUSPENDED_LEASES = (1.1, 2.0)


def host_faults(hosts: Hosts, rng: random.Random, lease_seconds: float) -> Mapping[str, Fault]:
    """Return the faults of host processes by name. A suspended process loses its leases."""

    async def kill() -> None:
        await hosts.kill(rng.randrange(hosts.number))

    async def drain() -> None:
        await hosts.drain(rng.randrange(hosts.number))

    async def suspend() -> None:
        await hosts.suspend(rng.randrange(hosts.number), lease_seconds * rng.uniform(*SUSPENDED_LEASES))

    return {"host: SIGKILL": kill, "host: SIGTERM": drain, "host: SIGSTOP, SIGCONT": suspend}


async def inject_faults(
    faults: Mapping[str, Fault],
    rng: random.Random,
    pause_seconds: tuple[float, float],
    stop: asyncio.Event,
    counts: Counter[str],
    *,
    rounds: int | None,
) -> None:
    """Inject one fault at a time until `stop` is set, with pauses between the bounds `pause_seconds`.

    With `rounds`, inject each fault `rounds` times instead, without pauses once `stop` is set. `rng` alone determines
    the faults and the pauses. `counts` counts the injected faults.
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
    """Yield names in random order, each once per round; without end if `rounds` is None."""
    for _ in itertools.count() if rounds is None else range(rounds):
        yield from rng.sample(names, len(names))
