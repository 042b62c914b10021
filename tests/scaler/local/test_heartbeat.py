"""The heartbeat of a process: a byte now and then, until it hangs."""

import asyncio
import os

import pytest

from listeners.runtime import child_processes
from listeners.runtime.child_processes import HEARTBEAT_VARIABLE, inherited_heartbeat, send_heartbeat
from scaler.local.heartbeat import SILENT_SECONDS, Heartbeat
from tests.support.waiting import eventually


def test_silence() -> None:
    """A process may be silent until it starts, and then for a bounded time. A byte ends the silence."""
    heartbeat = Heartbeat()
    assert not any(heartbeat.has_stopped(SILENT_SECONDS) for _ in range(10))
    for _ in range(2):
        os.write(heartbeat.writer, b"..")
        assert not heartbeat.has_stopped(SILENT_SECONDS)
        assert not any(heartbeat.has_stopped(SILENT_SECONDS / 10) for _ in range(9))
    assert any(heartbeat.has_stopped(SILENT_SECONDS / 10) for _ in range(3))
    heartbeat.started()
    heartbeat.close()


def test_a_suspended_machine() -> None:
    """A long time between two questions, in which the process may have been suspended too, is not its silence."""
    heartbeat = Heartbeat()
    os.write(heartbeat.writer, b".")
    assert not heartbeat.has_stopped(0.0)
    assert not heartbeat.has_stopped(3600.0)
    os.write(heartbeat.writer, b".")
    assert not heartbeat.has_stopped(1.0)
    heartbeat.started()
    heartbeat.close()


async def test_a_process_that_hangs_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are written while the process does not hang, and a full pipe does not matter."""
    monkeypatch.setattr(child_processes, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(child_processes, "NOT_READY_SECONDS", 0.0)
    heartbeat = Heartbeat()
    monkeypatch.setenv(HEARTBEAT_VARIABLE, str(heartbeat.writer))
    inherited = inherited_heartbeat()
    assert (inherited, HEARTBEAT_VARIABLE in os.environ) == (heartbeat.writer, False)
    hung, ready, questions = True, False, 0

    def is_hung() -> bool:
        nonlocal questions
        questions += 1
        return hung

    sending = asyncio.create_task(send_heartbeat(heartbeat.writer, is_hung, lambda: ready))
    try:
        await eventually(lambda: questions > 10)
        assert not heartbeat._has_beaten()
        hung = False
        await eventually(lambda: questions > 100_000)  # more than the pipe holds
        assert (heartbeat.has_started(), heartbeat.is_ready()) == (True, False)
        ready = True
        await eventually(heartbeat.is_ready)
        assert not sending.done()
    finally:
        sending.cancel()
        heartbeat.started()
        heartbeat.close()
