"""ResilientLoop: repeats its step, whatever happens."""

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import cast
from unittest.mock import Mock

import pytest

from listeners.engine import resilient_loop
from listeners.engine.in_progress import InProgress
from listeners.engine.lease_keeper import RENEWALS_PER_LEASE, LeaseKeeper
from listeners.engine.resilient_loop import ResilientLoop
from listeners.engine.source import LeaseRenewal
from listeners.errors import SourceTimeoutError, SourceUnavailableError
from listeners.functions.entries import Entry

DOWN, SLOW, BUG = SourceUnavailableError("PING: refused"), SourceTimeoutError("PING: no answer"), KeyError("k")


class ScriptedLoop:
    """A loop with scripted steps: each raises an error, or succeeds if None. It stops after the last one."""

    def __init__(self, *steps: BaseException | None) -> None:
        self._steps = list(steps)
        self.stop = asyncio.Event()
        self.reasons: list[str] = []
        self.states: list[tuple[str, bool]] = []
        self.loop = ResilientLoop(
            "taking", self._step, on_error=self.reasons.append, on_state=lambda *state: self.states.append(state)
        )

    async def _step(self) -> None:
        error = self._steps.pop(0)
        if not self._steps:
            self.stop.set()
        if error is not None:
            raise error

    @property
    def left(self) -> int:
        """How many steps have not run."""
        return len(self._steps)

    async def run(self) -> "ScriptedLoop":
        """Run the loop to its end."""
        await self.loop.run(self.stop)
        return self


class InstantTimeout:
    """Replaces asyncio.timeout: times out at once."""

    async def __aenter__(self) -> None:
        raise TimeoutError

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the length of each pause in seconds. Pauses take no time and have no jitter."""
    seconds: list[float] = []

    def timeout(delay: float) -> InstantTimeout:
        seconds.append(delay)
        return InstantTimeout()

    monkeypatch.setattr("listeners.engine.resilient_loop.asyncio.timeout", timeout)
    monkeypatch.setattr("listeners.runtime.backoff.random.uniform", lambda _, high: high)
    return seconds


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """A function that returns the lines logged so far."""
    caplog.set_level(logging.DEBUG, "triggerfish.host")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "triggerfish.host"]


async def test_success_is_silent(logged: Callable[[], list[str]], pauses: list[float]) -> None:
    """Successful steps follow each other without a pause, a log line or a change of state."""
    scripted = await ScriptedLoop(None, None, None).run()
    assert (scripted.reasons, scripted.states, logged(), pauses) == ([], [], [], [])


async def test_one_line_per_state_change(logged: Callable[[], list[str]]) -> None:
    """An outage with many errors is logged once when it begins and once when it ends."""
    scripted = await ScriptedLoop(DOWN, DOWN, DOWN, None, None, DOWN, None).run()
    down = "taking: PING: refused (unavailable); retrying until it succeeds"
    assert [line.split(" after")[0] for line in logged()] == [down, "taking recovered", down, "taking recovered"]
    assert scripted.states == [("taking", False), ("taking", True), ("taking", False), ("taking", True)]


async def test_a_different_error_is_logged(logged: Callable[[], list[str]]) -> None:
    """A different error during an outage is logged once, without a change of state."""
    scripted = await ScriptedLoop(DOWN, SLOW, SLOW, None).run()
    assert [line.partition(";")[0] for line in logged()] == [
        "taking: PING: refused (unavailable)",
        "taking: PING: no answer (timeout)",
        "taking recovered after 0.0 s",
    ]
    assert scripted.states == [("taking", False), ("taking", True)]


async def test_every_error_counts() -> None:
    """on_error gets the reason of each error, even if it is not logged."""
    scripted = await ScriptedLoop(DOWN, DOWN, SLOW, BUG, None, DOWN).run()
    assert scripted.reasons == ["unavailable", "unavailable", "timeout", "internal", "unavailable"]


async def test_back_off_is_capped(pauses: list[float]) -> None:
    """The pause doubles with each error up to a cap, and is reset by a successful step."""
    await ScriptedLoop(*[DOWN] * 9, None, DOWN, SLOW, None).run()
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.05, 0.1]


async def test_back_off_is_jittered(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter shortens a pause by at most a quarter, so that listeners do not all retry at the same time."""
    monkeypatch.setattr("listeners.runtime.backoff.random.uniform", lambda low, _: low)
    await ScriptedLoop(DOWN, DOWN, None).run()
    assert pauses == pytest.approx([0.0375, 0.075])


@pytest.mark.parametrize("error", [BUG, RuntimeError("x"), AssertionError(), ExceptionGroup("several", [BUG])])
async def test_continues_after_unexpected_errors(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A bug does not end an activity; it is logged once with its traceback, and counted each time."""
    scripted = await ScriptedLoop(error, error, None).run()
    assert scripted.reasons == ["internal", "internal"]
    assert scripted.states == [("taking", False), ("taking", True)]
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


async def test_a_bug_during_an_outage_is_logged_with_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """A bug that occurs while Redis is down is logged with its traceback too."""
    await ScriptedLoop(DOWN, BUG, BUG, None).run()
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [BUG]


async def test_one_step() -> None:
    """A single step returns whether it succeeded."""
    scripted = ScriptedLoop(None, DOWN, BUG, None)
    assert [await scripted.loop.run_once() for _ in range(4)] == [True, False, False, True]


async def test_stopped_before_it_starts() -> None:
    """An activity that is already stopped runs no step."""
    scripted = ScriptedLoop(None)
    scripted.stop.set()
    await scripted.run()
    assert scripted.left == 1


async def test_stops_during_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activity that is stopped during a pause ends at once, not after the pause."""
    monkeypatch.undo()
    monkeypatch.setattr(resilient_loop, "FIRST_PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(resilient_loop, "LAST_PAUSE_SECONDS", 3600.0)
    failed, stop = asyncio.Event(), asyncio.Event()

    async def step() -> None:
        failed.set()
        raise DOWN

    loop = ResilientLoop("taking", step, on_error=lambda _: None, on_state=lambda *_: None)
    running = asyncio.create_task(loop.run(stop))
    await failed.wait()
    stop.set()
    async with asyncio.timeout(5):
        await running


async def test_cancellation_ends_it(pauses: list[float]) -> None:
    """A cancelled activity raises CancelledError, which is not counted as an error of its step."""
    started, scripted = asyncio.Event(), ScriptedLoop(None)

    async def step() -> None:
        started.set()
        await asyncio.Event().wait()

    loop = ResilientLoop("taking", step, on_error=scripted.reasons.append, on_state=lambda *_: None)
    running = asyncio.create_task(loop.run(asyncio.Event()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (scripted.reasons, pauses) == ([], [])


@pytest.mark.parametrize("raised", [None, DOWN])
async def test_lost_cancellation(raised: Exception | None) -> None:
    """A cancelled activity ends even if its step swallows the cancellation or turns it into an error."""
    started = asyncio.Event()

    async def step() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if raised is not None:
                raise raised from None

    loop = ResilientLoop("taking", step, on_error=lambda _: None, on_state=lambda *_: None)
    running = asyncio.create_task(loop.run(asyncio.Event()))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


class FailingRenewal(LeaseRenewal):
    """Fails for one key each time, until it has ended its loop."""

    def __init__(self, times: int) -> None:
        self._left = times

    async def renew(self, entries: Collection[Entry]) -> None:
        self._left -= 1
        task = asyncio.current_task()
        if not self._left and task is not None:
            task.cancel()
        raise DOWN

    async def close(self) -> None: ...


async def test_renewals_that_fail_for_one_key_are_in_time_for_the_others(pauses: list[float]) -> None:
    """Failures make the pauses between renewals no longer than they are without any."""
    keeper = LeaseKeeper(
        "function",
        cast(InProgress, Mock(entries=[])),
        FailingRenewal(20),
        lease_seconds=1.0,
        on_error=lambda _: None,
        on_state=lambda *_: None,
    )
    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(keeper.run(lambda: False))
    assert len(pauses) > 10
    assert max(pauses) <= 1.0 / RENEWALS_PER_LEASE
