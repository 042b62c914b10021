"""Ends the holder of the pub/sub lease while nothing else goes wrong, and measures what that costs."""

import signal
import time
from dataclasses import dataclass

from listeners.keys import lease_key
from tests.chaos.hosts import Hosts
from tests.chaos.producers import MESSAGE, Publisher
from tests.chaos.records import Moment, Records
from tests.chaos.scenario import Scenario, client
from tests.support.waiting import eventually

__all__ = ["Cost", "Signalled", "cost_of", "take_over"]

LEASE = lease_key("chaos", "on_message")
TIMEOUT_SECONDS = 10.0
#: A take-over that lasts longer than this is a failure of its own.
LONGEST_SECONDS = 60.0
#: So many messages in a row reach a subscriber before and after each take-over.
STEADY_MESSAGES = 20
#: Messages published so shortly before the signal may be lost with the process.
BEFORE_NS = 50_000_000


@dataclass(frozen=True)
class Signalled:
    """A holder that was told to end."""

    number: signal.Signals
    holder: str
    at_ns: int


@dataclass(frozen=True)
class Cost:
    """What one take-over cost. `seconds`: from the signal to the first call in another instance; None: there is none.

    `missed`: confirmed messages that nobody handled, of `published` since the signal.
    """

    number: signal.Signals
    seconds: float | None
    missed: int
    published: int


async def take_over(scenario: Scenario, hosts: Hosts, publisher: Publisher, number: signal.Signals) -> Signalled:
    """Signal the holder, and wait until messages reach another one steadily."""
    await hosts.all_ready()
    await eventually(lambda: _steady(publisher, 0), seconds=LONGEST_SECONDS)
    holder = await eventually(lambda: _holder_among(scenario, hosts, ""), seconds=LONGEST_SECONDS)
    slot = hosts.of(holder)
    assert slot is not None
    at_ns = time.monotonic_ns()
    await (hosts.kill(slot) if number is signal.SIGKILL else hosts.drain(slot))
    await eventually(lambda: _holder_among(scenario, hosts, holder), seconds=LONGEST_SECONDS)
    since = len(publisher.confirmed)
    await eventually(lambda: _steady(publisher, since), seconds=LONGEST_SECONDS)
    return Signalled(number, holder, at_ns)


def cost_of(signalled: list[Signalled], publisher: Publisher, records: Records, end_ns: int) -> list[Cost]:
    """What each take-over cost, by what the processes recorded."""
    starts = records.starts(MESSAGE)
    costs = []
    for at, one in enumerate(signalled):
        until_ns = signalled[at + 1].at_ns if at + 1 < len(signalled) else end_ns
        window = [message for message in publisher.confirmed if one.at_ns - BEFORE_NS <= message.at_ns < until_ns]
        missed = sum(not records.of(message.payload, Moment.STARTED) for message in window)
        first_ns = next((call.at_ns for call in starts if call.at_ns > one.at_ns and call.instance != one.holder), None)
        seconds = None if first_ns is None else (first_ns - one.at_ns) / 1e9
        costs.append(Cost(one.number, seconds, missed, len(window)))
    return costs


async def _holder_among(scenario: Scenario, hosts: Hosts, other_than: str) -> str:
    """The instance that holds the lease, if it runs and is another one; else nothing."""
    async with client(await scenario.direct_port_of(LEASE), TIMEOUT_SECONDS) as direct:
        holder = str((await direct.execute_command("GET", LEASE) or b"").decode())
    return holder if holder != other_than and hosts.of(holder) is not None else ""


def _steady(publisher: Publisher, since: int) -> bool:
    latest = publisher.confirmed[since:][-STEADY_MESSAGES:]
    return len(latest) == STEADY_MESSAGES and all(message.receivers for message in latest)
