"""Forces takeovers of the pub/sub lease while there are no other faults, and measures their cost."""

import signal
import time
from dataclasses import dataclass

from tests.chaos.hosts.keys import LEASE
from tests.chaos.hosts.processes import Hosts
from tests.chaos.producers.messages import MESSAGE, Publisher
from tests.chaos.records.calls import Moment, Records
from tests.chaos.scenarios.scenario import Scenario, client
from tests.support.waiting import eventually

__all__ = ["Cost", "SentSignal", "cost_of", "take_over"]

TIMEOUT_SECONDS = 10.0
#: A takeover that takes longer is a failure.
LIMIT_SECONDS = 60.0
#: Number of consecutive messages that must reach a subscriber before and after each takeover.
STEADY_MESSAGES = 20
#: Messages published this shortly before the signal may be lost with the process.
BEFORE_NS = 50_000_000


@dataclass(frozen=True)
class SentSignal:
    """A signal that was sent to the holder of the lease."""

    number: signal.Signals
    holder: str
    at_ns: int


@dataclass(frozen=True)
class Cost:
    """The cost of one takeover.

    `seconds` is the time from the signal to the first call in another instance; None if there was no such call.
    `missed` is the number of confirmed messages that no instance handled, out of `published` since the signal.
    """

    number: signal.Signals
    seconds: float | None
    missed: int
    published: int


async def take_over(scenario: Scenario, hosts: Hosts, publisher: Publisher, number: signal.Signals) -> SentSignal:
    """Signal the holder of the lease, and wait until messages reach another holder steadily."""
    await hosts.all_ready()
    await eventually(lambda: _steady(publisher, 0), seconds=LIMIT_SECONDS)
    holder = await eventually(lambda: _holder_among(scenario, hosts, ""), seconds=LIMIT_SECONDS)
    slot = hosts.of(holder)
    assert slot is not None
    at_ns = time.monotonic_ns()
    await (hosts.kill(slot) if number is signal.SIGKILL else hosts.drain(slot))
    await eventually(lambda: _holder_among(scenario, hosts, holder), seconds=LIMIT_SECONDS)
    since = len(publisher.confirmed)
    await eventually(lambda: _steady(publisher, since), seconds=LIMIT_SECONDS)
    return SentSignal(number, holder, at_ns)


def cost_of(signals: list[SentSignal], publisher: Publisher, records: Records, end_ns: int) -> list[Cost]:
    """Compute the cost of each takeover from the processes' records."""
    starts = records.starts(MESSAGE)
    costs = []
    for at, sent in enumerate(signals):
        until_ns = signals[at + 1].at_ns if at + 1 < len(signals) else end_ns
        window = [message for message in publisher.confirmed if sent.at_ns - BEFORE_NS <= message.at_ns < until_ns]
        missed = sum(not records.of(message.payload, Moment.STARTED) for message in window)
        taken_over = (call.at_ns for call in starts if call.at_ns > sent.at_ns and call.instance != sent.holder)
        first_ns = next(taken_over, None)
        seconds = None if first_ns is None else (first_ns - sent.at_ns) / 1e9
        costs.append(Cost(sent.number, seconds, missed, len(window)))
    return costs


async def _holder_among(scenario: Scenario, hosts: Hosts, other_than: str) -> str:
    """Return the instance that holds the lease if it runs and is not `other_than`; otherwise ""."""
    async with client(await scenario.direct_port_of(LEASE), TIMEOUT_SECONDS) as direct:
        holder = str((await direct.execute_command("GET", LEASE) or b"").decode())
    return holder if holder != other_than and hosts.of(holder) is not None else ""


def _steady(publisher: Publisher, since: int) -> bool:
    latest = publisher.confirmed[since:][-STEADY_MESSAGES:]
    return len(latest) == STEADY_MESSAGES and all(message.receivers for message in latest)
