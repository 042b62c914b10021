"""A function that blocks the event loop is reported, and noticed by Kubernetes."""

import asyncio
import contextlib
import ctypes
import io
import sys
import threading
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from listeners.host import watchdog as module
from listeners.host.supervisor import Supervisor
from listeners.host.watchdog import Watchdog
from tests.support.waiting import eventually


def counter() -> Counter:
    """Return a new counter of blocks."""
    return Counter("blocks", "Blocks.", registry=CollectorRegistry())


@contextlib.asynccontextmanager
async def watched(watchdog: Watchdog) -> AsyncIterator[Supervisor]:
    """Watch an event loop on a thread, from this one."""
    supervisor = Supervisor()
    supervisor.start()

    async def start() -> None:
        watchdog.start()

    async def stop() -> None:
        watchdog.stop()

    await supervisor.call(start())
    watching = asyncio.create_task(watchdog.watch())
    try:
        yield supervisor
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await supervisor.call(stop())
        await supervisor.stop()


async def test_a_blocked_loop_is_reported_with_its_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the loop is blocked, one line says where; the block is counted, and its end is logged."""
    monkeypatch.setattr(module, "BLOCKED_SECONDS", 0.1)
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    blocks = counter()
    watchdog = Watchdog(blocks, hung_after_seconds=0.3, dump_stacks=False)
    resume = threading.Event()

    async def block_the_loop() -> None:
        resume.wait(30)

    async with watched(watchdog) as supervisor:
        assert not watchdog.is_hung()
        blocking = asyncio.create_task(supervisor.call(block_the_loop()))
        await eventually(watchdog.is_hung)
        await eventually(lambda: caplog.records)
        resume.set()
        await blocking
        await eventually(lambda: len(caplog.records) == 2)
        assert not watchdog.is_hung()
    assert f"{__file__}:" in caplog.text
    assert "in test_a_blocked_loop_is_reported_with_its_line.<locals>.block_the_loop" in caplog.text
    assert caplog.records[1].getMessage() == "the event loop runs again"
    assert blocks._value.get() == 1


async def test_a_block_that_the_thread_missed_is_reported_at_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Code that holds the GIL stops the watching thread too: the loop itself then reports and counts the block."""
    monkeypatch.setattr(module, "BLOCKED_SECONDS", 0.1)
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.05)
    blocks = counter()
    watchdog = Watchdog(blocks, hung_after_seconds=60, dump_stacks=False)
    watchdog.start()
    try:
        while watchdog.blocked_seconds() <= module.BLOCKED_SECONDS:
            pass  # it does not await
        await eventually(lambda: caplog.records)
    finally:
        watchdog.stop()
    assert caplog.records[0].getMessage().startswith("the event loop was blocked for ")
    assert blocks._value.get() == len(caplog.records)


async def test_a_loop_that_runs_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that runs counts as neither blocked nor hung."""
    watchdog = Watchdog(counter(), hung_after_seconds=5, dump_stacks=False)
    async with watched(watchdog) as supervisor:
        for _ in range(3):
            await supervisor.call(asyncio.sleep(module.BEAT_SECONDS))
        assert not watchdog.is_hung()
    assert caplog.records == []


async def test_the_stacks_are_dumped_although_the_app_replaced_stderr(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The stacks go to the standard error output of the process, as an app's sys.stderr may have no file descriptor."""
    monkeypatch.setattr(module, "HELD_GIL_SECONDS", 0.05)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    dumped = ""

    def has_dump() -> bool:
        nonlocal dumped
        ctypes.PyDLL(None).usleep(200_000)  # holds the GIL
        dumped += capfd.readouterr().err
        return "Timeout (0:00:00.05" in dumped and __file__ in dumped

    async with watched(Watchdog(counter(), hung_after_seconds=60, dump_stacks=True)):
        await eventually(has_dump)
