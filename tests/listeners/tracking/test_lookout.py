"""When a lookout lets its owner look, with a Redis whose reports the test makes."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from listeners.tracking import lookout as module
from listeners.tracking.armed import Armed
from listeners.tracking.lookout import Lookout
from listeners.tracking.watch import Watch
from tests.support.waiting import eventually


class Reporting:
    """A watch whose keys can be armed at any time. `missing`: none of them exists."""

    proved_at = 1.0

    def __init__(self, *, missing: bool = False) -> None:
        self.missing = missing
        self.armed: list[Armed] = []
        self.verified = 0

    async def arm(self, groups: Sequence[Sequence[str]]) -> list[Armed]:
        """Arm keys."""
        found = [Armed(keys, (self,), 0.0) for keys in groups]
        for one in found:
            one.missing = self.missing
        self.armed += found
        return found

    async def verify_missing(self, armed: Armed) -> None:
        """Count the call."""
        self.verified += 1

    def release(self, armed: Armed) -> None:
        """End armed keys."""
        armed.end()


def lookout_at(watch: Reporting, *, entries_exist: bool = False) -> Lookout:
    """A lookout at one key."""
    return Lookout(
        cast(Watch, watch), ["key"], entries_exist=entries_exist, polling_seconds=1.0, on_polled=lambda polled: None
    )


async def look(lookout: Lookout, found: int = 0) -> None:
    """Wait until it is time to look, and find this many entries."""
    async with asyncio.timeout(30):
        assert await lookout.wait()
    lookout.ended(lookout.begin(), found, more=False, due_seconds=None)


async def resting(lookout: Lookout) -> asyncio.Task[bool]:
    """Look until nothing is found, and return the wait for the next look."""
    while True:
        waiting = asyncio.create_task(lookout.wait())
        await eventually(lambda: waiting.done() or not lookout.awake.is_set())  # noqa: B023
        if not waiting.done():
            return waiting
        lookout.ended(lookout.begin(), 0, more=False, due_seconds=None)


async def test_any_number_of_reports_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that is always late goes on, and a few successes make it quick again."""
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 1e-9)
    monkeypatch.setattr(module, "LAST_PAUSE_SECONDS", 1e-9)
    watch = Reporting()
    lookout = lookout_at(watch)
    for _ in range(3_000):
        await look(lookout)
        watch.armed[-1].end() if watch.armed else None
    for _ in range(5):
        await look(lookout, found=1)
    assert lookout._losses < module.MANY_LOSSES


async def test_a_look_that_fails_is_repeated() -> None:
    """After a look that failed there is another one, although the keys are missing by then."""
    watch = Reporting(missing=True)
    lookout = lookout_at(watch, entries_exist=True)
    waiting = await resting(lookout)
    watch.armed[-1].end()
    assert await waiting
    lookout.begin()  # and its answer is lost
    await look(lookout)
    waiting = await resting(lookout)
    waiting.cancel()


@pytest.mark.parametrize("missing", [True, False])
async def test_only_missing_keys_are_verified(monkeypatch: pytest.MonkeyPatch, missing: bool) -> None:
    """A list that existed when it was armed may exist although nothing was reported."""
    monkeypatch.setattr(module, "VERIFY_SECONDS", 0.01)
    watch = Reporting(missing=missing)
    lookout = lookout_at(watch, entries_exist=True)
    for _ in range(5):
        await look(lookout)
    assert (watch.verified > 0) is missing


async def test_a_report_counts_once() -> None:
    """What is found besides, by an exchange, is no race that was lost."""
    watch = Reporting()
    lookout = lookout_at(watch)
    waiting = await resting(lookout)
    watch.armed[-1].end()
    assert await waiting
    lookout.ended(lookout.begin(), 1, more=False, due_seconds=None)
    for _ in range(5):
        lookout.ended(lookout.begin(), 0, more=False, due_seconds=None)
    assert lookout._losses == 0


async def test_a_drain_ends_the_wait() -> None:
    """After stop(), there is no further look."""
    lookout = lookout_at(Reporting())
    waiting = await resting(lookout)
    lookout.stop()
    await eventually(waiting.done)
    assert not waiting.result()


async def test_a_wait_that_is_ended() -> None:
    """It ends without a look, and the next wait is as usual: there is a look after a report."""
    watch = Reporting()
    lookout = lookout_at(watch)
    waiting = await resting(lookout)
    lookout.end_wait()
    assert not await waiting
    waiting = await resting(lookout)
    watch.armed[-1].end()
    assert await waiting
    lookout.end_wait()  # while nobody waits
    lookout.ended(lookout.begin(), 1, more=True, due_seconds=None)
    assert await lookout.wait()


async def test_a_wait_that_is_ended_while_it_polls() -> None:
    """So does one for a Redis that reports nothing."""

    class Silent(Reporting):
        async def arm(self, groups: Sequence[Sequence[str]]) -> list[Armed]:
            return [None for _ in groups]  # type: ignore[misc]

    lookout = Lookout(
        cast(Watch, Silent()), ["key"], entries_exist=False, polling_seconds=3600.0, on_polled=lambda polled: None
    )
    for _ in range(30):  # until the pause between two looks is longer than the test
        lookout.ended(lookout.begin(), 0, more=False, due_seconds=None)
    waiting = asyncio.create_task(lookout.wait())
    await asyncio.sleep(0)
    lookout.end_wait()
    async with asyncio.timeout(30):
        assert not await waiting
