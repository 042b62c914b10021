"""Lifespans of hosts in the test's process."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from listeners.errors import LifespanError
from tests.support.running_host import RunHost
from tests.support.trigger_kinds import Kind, add, both_kinds, settled, trigger
from tests.support.waiting import eventually
from triggerfish import App, ConfigurationError, Connections, Context, Host

pytestmark = pytest.mark.releases("valkey-9.1")


@both_kinds
@pytest.mark.parametrize("managed", [True, False])
async def test_around_all_calls(client: redis.asyncio.Redis, run_host: RunHost, kind: Kind, managed: bool) -> None:
    """It is entered before the first entry is taken, and left after the last call, in one task."""
    app, events = App(), list[str]()
    may_enter, tasks = asyncio.Event(), list[object]()

    async def lifespan() -> AsyncIterator[str]:
        tasks.append(asyncio.current_task())
        await may_enter.wait()
        events.append("entered")
        yield "pool"
        tasks.append(asyncio.current_task())
        events.append("left")

    app.lifespan(contextlib.asynccontextmanager(lifespan) if managed else lifespan)

    @trigger(app, kind)
    async def handle(payload: str, context: Context[str]) -> None:
        events.append(context.state)

    await add(client, kind, "a")
    async with run_host(app, ready=False) as host:
        await eventually(lambda: tasks)
        assert (host.ready, events) == (False, [])
        names = [one["name"] for one in await client.client_list()]
        assert not any("triggerfish" in name for name in names)  # no source has been opened
        may_enter.set()
        await eventually(lambda: host.ready)
        await eventually(lambda: settled(client, kind) if "pool" in events else False)
    assert events == ["entered", "pool", "left"]
    assert tasks[0] is tasks[1]


async def test_a_call_that_finishes_during_the_drain(client: redis.asyncio.Redis, run_host: RunHost) -> None:
    """The lifespan is left only after the calls that the drain waits for."""
    app, events = App(), list[str]()
    release = asyncio.Event()

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        yield
        events.append("left")

    @trigger(app, "list")
    async def handle(element: str) -> None:
        events.append("began")
        await release.wait()
        events.append("ended")

    await add(client, "list", "a")
    async with run_host(app) as host:
        await eventually(lambda: events)
        host.drain()
        asyncio.get_running_loop().call_later(0.1, release.set)
    assert events == ["began", "ended", "left"]


def raising() -> None:
    raise ValueError("no database")


def exiting() -> None:
    raise SystemExit("no database")


@pytest.mark.parametrize("fail", [raising, exiting])
async def test_one_that_cannot_be_entered(
    run_host: RunHost, caplog: pytest.LogCaptureFixture, client: redis.asyncio.Redis, fail: object
) -> None:
    """run() raises LifespanError, whatever was raised, and the log has the traceback. No entry is taken."""
    app, called = App("shop"), list[str]()

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        raising() if fail is raising else exiting()
        yield

    @trigger(app, "list")
    async def handle(element: str) -> None:
        called.append(element)

    await add(client, "list", "a")
    with pytest.raises(LifespanError, match=r"entering it: (ValueError|SystemExit): no database"):
        async with run_host(app):
            pass
    [record] = [one for one in caplog.records if "entering the lifespan failed" in one.getMessage()]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert called == []
    assert await client.llen("work") == 1


async def test_one_that_never_yields(run_host: RunHost) -> None:
    """The error says what is missing."""
    app = app_with_function()

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        for _ in range(0):
            yield

    with pytest.raises(LifespanError, match="it has ended without a yield: yield once"):
        async with run_host(app):
            pass


def app_with_function() -> App:
    """Return an app with a function for the list `work`."""
    app = App("shop")

    @app.list_trigger(keys="work")
    async def handle(element: str) -> None: ...

    return app


async def test_one_that_yields_twice(run_host: RunHost, caplog: pytest.LogCaptureFixture) -> None:
    """It is closed at its second yield, and the error is logged."""
    app, closed = app_with_function(), list[str]()

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        yield
        try:
            yield
        finally:
            closed.append("closed")

    async with run_host(app):
        pass
    assert "leaving the lifespan failed" in caplog.text
    assert "it has yielded a second time: yield once" in caplog.text
    assert closed == ["closed"]


async def test_one_that_fails_while_it_is_left(run_host: RunHost, caplog: pytest.LogCaptureFixture) -> None:
    """The error is logged with its traceback, and the drain is complete."""
    app = app_with_function()

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise ValueError("already closed")

    async with run_host(app):
        pass
    assert "shop: leaving the lifespan failed" in caplog.text
    assert "ValueError: already closed" in caplog.text


async def test_one_that_hangs_while_it_is_left(run_host: RunHost, caplog: pytest.LogCaptureFixture) -> None:
    """It is cancelled at the end of the grace period, and the log names the line at which it hangs."""
    app, ended = app_with_function(), list[str]()

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        yield
        try:
            await hang()
        finally:
            ended.append("cancelled")

    async with run_host(app, grace_period_seconds=0.1):
        pass
    assert "shop: cancelling the lifespan: it has not ended within 2.0 s" in caplog.text
    assert "test_lifespan.py" in caplog.text
    assert "in hang)" in caplog.text
    assert ended == ["cancelled"]


async def hang() -> None:
    """Wait for what never happens."""
    await asyncio.Event().wait()


async def test_one_that_hangs_at_its_start(
    run_host: RunHost, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported from time to time with its line, and a drain cancels it."""
    monkeypatch.setattr("listeners.host.lifespan.STILL_STARTING_SECONDS", 0.05)
    app, ended = app_with_function(), list[str]()

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        try:
            await hang()
            yield
        finally:
            ended.append("cancelled")

    async with run_host(app, ready=False) as host:
        await eventually(lambda: caplog.text.count("shop: the lifespan is still starting after 0 s") >= 2)
        assert "in hang)" in caplog.text
        assert not host.ready
    assert ended == ["cancelled"]
    assert "shop: cancelling the lifespan: it has not started yet" in caplog.text


async def test_one_that_ends_while_the_app_runs(run_host: RunHost, caplog: pytest.LogCaptureFixture) -> None:
    """A background task of the lifespan that fails ends it: the host drains, and run() raises LifespanError."""
    app, fail = app_with_function(), asyncio.Event()

    async def refresh() -> None:
        await fail.wait()
        raise ValueError("cannot refresh")

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            group.create_task(refresh())
            yield

    with pytest.raises(LifespanError, match="while the app was running: ExceptionGroup"):
        async with run_host(app):
            fail.set()
    assert "the lifespan has ended while the app runs" in caplog.text
    assert "ValueError: cannot refresh" in caplog.text


async def test_a_drain_before_the_start() -> None:
    """A host that was drained before it runs does not enter the lifespan, and needs no Redis."""
    app, events = app_with_function(), list[str]()

    @app.lifespan
    async def lifespan() -> AsyncIterator[None]:
        events.append("entered")
        yield

    host = Host(app, Connections())
    host.drain()
    async with asyncio.timeout(30):
        await host.run()
    assert events == []
    with pytest.raises(ConfigurationError, match=r"has run before.*Make another Host of the app"):
        await host.run()
