"""Activities: what is done again and again, whatever happens."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from listeners.engine import resilient_loop
from listeners.engine.resilient_loop import ResilientLoop
from listeners.errors import SourceTimeoutError, SourceUnavailableError

DOWN, SLOW, MISTAKE = SourceUnavailableError("PING: refused"), SourceTimeoutError("PING: no answer"), KeyError("k")


class Watched:
    """An activity whose steps are written down beforehand: an error to raise, or None. After the last it is stopped."""

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
        """How many steps have not been done."""
        return len(self._steps)

    async def run(self) -> "Watched":
        """Run it to its end."""
        await self.loop.run(self.stop)
        return self


class PauseOver:
    """Stands for asyncio.timeout: the time is over at once."""

    async def __aenter__(self) -> None:
        raise TimeoutError

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each pause would have been, in seconds; none takes any time. There is no jitter."""
    seconds: list[float] = []

    def timeout(delay: float) -> PauseOver:
        seconds.append(delay)
        return PauseOver()

    monkeypatch.setattr("listeners.engine.resilient_loop.asyncio.timeout", timeout)
    monkeypatch.setattr("listeners.runtime.backoff.random.uniform", lambda _, high: high)
    return seconds


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines logged so far."""
    caplog.set_level(logging.DEBUG, "triggerfish.host")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "triggerfish.host"]


async def test_what_works_is_silent(logged: Callable[[], list[str]], pauses: list[float]) -> None:
    """Steps that work follow each other without a pause, a line or a change of state."""
    watched = await Watched(None, None, None).run()
    assert (watched.reasons, watched.states, logged(), pauses) == ([], [], [], [])


async def test_one_line_per_change_of_state(logged: Callable[[], list[str]]) -> None:
    """An outage of many errors is one line at its beginning and one at its end."""
    watched = await Watched(DOWN, DOWN, DOWN, None, None, DOWN, None).run()
    down = "taking: PING: refused (unavailable); trying again until it works"
    assert [line.split(" after")[0] for line in logged()] == [down, "taking works again", down, "taking works again"]
    assert watched.states == [("taking", False), ("taking", True), ("taking", False), ("taking", True)]


async def test_another_trouble_is_another_line(logged: Callable[[], list[str]]) -> None:
    """A trouble that becomes another one is a line, and no change of whether the activity works."""
    watched = await Watched(DOWN, SLOW, SLOW, None).run()
    assert [line.partition(";")[0] for line in logged()] == [
        "taking: PING: refused (unavailable)",
        "taking: PING: no answer (timeout)",
        "taking works again after 0.0 s",
    ]
    assert watched.states == [("taking", False), ("taking", True)]


async def test_every_error_counts() -> None:
    """Each error is told with its reason, however few lines there are."""
    watched = await Watched(DOWN, DOWN, SLOW, MISTAKE, None, DOWN).run()
    assert watched.reasons == ["unavailable", "unavailable", "timeout", "internal", "unavailable"]


async def test_back_off_is_capped(pauses: list[float]) -> None:
    """The pause doubles with each error up to a cap, and starts anew after a step that worked."""
    await Watched(*[DOWN] * 9, None, DOWN, SLOW, None).run()
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.05, 0.1]


async def test_back_off_is_jittered(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause is at least three quarters of what it could be, so that listeners do not come back all at once."""
    monkeypatch.setattr("listeners.runtime.backoff.random.uniform", lambda low, _: low)
    await Watched(DOWN, DOWN, None).run()
    assert pauses == pytest.approx([0.0375, 0.075])


@pytest.mark.parametrize("error", [MISTAKE, RuntimeError("x"), AssertionError(), ExceptionGroup("several", [MISTAKE])])
async def test_goes_on_after_what_was_not_foreseen(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of ours does not end an activity; it is logged once with its traceback and counted each time."""
    watched = await Watched(error, error, None).run()
    assert watched.reasons == ["internal", "internal"]
    assert watched.states == [("taking", False), ("taking", True)]
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


async def test_a_mistake_during_an_outage_is_traced(caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of ours that comes up while Redis is down is logged with its traceback too."""
    await Watched(DOWN, MISTAKE, MISTAKE, None).run()
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [MISTAKE]


async def test_one_step() -> None:
    """A single step says whether it worked."""
    watched = Watched(None, DOWN, MISTAKE, None)
    assert [await watched.loop.run_once() for _ in range(4)] == [True, False, False, True]


async def test_told_to_stop_before_it_starts() -> None:
    """An activity that was told to stop does no step."""
    watched = Watched(None)
    watched.stop.set()
    await watched.run()
    assert watched.left == 1


async def test_stops_during_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activity that is told to stop while it pauses ends then, and not after the pause."""
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


async def test_cancelling_ends_it(pauses: list[float]) -> None:
    """A cancelled activity ends as cancelled, and that is no error of its step."""
    begun, watched = asyncio.Event(), Watched(None)

    async def step() -> None:
        begun.set()
        await asyncio.Event().wait()

    loop = ResilientLoop("taking", step, on_error=watched.reasons.append, on_state=lambda *_: None)
    running = asyncio.create_task(loop.run(asyncio.Event()))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (watched.reasons, pauses) == ([], [])


@pytest.mark.parametrize("raised", [None, DOWN])
async def test_a_cancellation_that_gets_lost(raised: Exception | None) -> None:
    """An activity ends even if its step swallows the cancellation, or turns it into an error."""
    begun = asyncio.Event()

    async def step() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if raised is not None:
                raise raised from None

    loop = ResilientLoop("taking", step, on_error=lambda _: None, on_state=lambda *_: None)
    running = asyncio.create_task(loop.run(asyncio.Event()))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
