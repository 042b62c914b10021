"""Whether an app has anything left to do: what is unknown is never 0."""

import asyncio
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from listeners.connections.named import Connections
from listeners.errors import SourceError, SourceUnavailableError
from scaler.measuring.backlog import Backlog, KeyBacklog
from scaler.measuring.outage import OUTAGE_SUFFIX
from scaler.measuring.sampler import Sample
from scaler.measuring.samplers import Samplers
from triggerfish import App, Host
from triggerfish.unfinished import Unfinished

IDLE = cast("Host", SimpleNamespace(ready=True, is_busy=False))
EMPTY = Backlog((KeyBacklog("q", 0),))


@pytest.fixture
def unfinished() -> Unfinished:
    """What is left of an app with one function."""
    app = App()

    @app.list_trigger(keys="q")
    def handle(element: str) -> None: ...

    return Unfinished(app, Connections())


def measuring(monkeypatch: pytest.MonkeyPatch, *results: Sample | SourceError | None) -> Iterator[Any]:
    """Have measurements return these results, one after the other; None is an empty backlog that is measured now."""
    left = iter(results)

    async def sample(*_: object, **__: object) -> Sample:
        result = next(left)
        if isinstance(result, SourceError):
            raise result
        return result or Sample(EMPTY, time.monotonic())

    monkeypatch.setattr(Samplers, "sample", sample)
    return left


async def test_an_old_sample_is_not_empty(unfinished: Unfinished, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that takes too long to measure has an older sample, which may have been empty then."""
    left = measuring(monkeypatch, Sample(EMPTY, time.monotonic() - 1), None, None)
    await unfinished.measure()
    assert isinstance(unfinished.last["handle"], SourceError)
    await asyncio.wait_for(unfinished.wait_until_empty(IDLE, 0), 30)
    assert list(left) == []


async def test_it_is_empty_twice(unfinished: Unfinished, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry may be on its way to this process, so that it counts if nothing is found twice in a row."""
    waiting = Sample(Backlog((KeyBacklog("q", 0, in_flight=1),)), time.monotonic() + 60)
    left = measuring(monkeypatch, None, waiting, None, SourceUnavailableError("down"), None, None, None)
    await asyncio.wait_for(unfinished.wait_until_empty(IDLE, 0), 30)
    assert list(left) == [None]


async def test_an_outage_is_logged_once(
    unfinished: Unfinished, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its errors differ in when Redis is tried next, and are one line."""
    outage = [SourceUnavailableError(f"down{OUTAGE_SUFFIX}{at}") for at in range(3)]
    measuring(monkeypatch, *outage, None, None)
    await asyncio.wait_for(unfinished.wait_until_empty(IDLE, 0), 30)
    [line] = caplog.messages
    assert line == "handle: cannot find out whether it is empty: down"
