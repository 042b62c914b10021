"""A process with calls that never end, after SIGTERM."""

import os
import signal
import subprocess
import sys

import pytest
import redis.asyncio

from listeners.keys import elements_key, inflight_key
from listeners.runtime.child_processes import die_with_parent
from tests.support.programs.hosts import ROOT, ended
from tests.support.trigger_kinds import GROUP, add, reached
from tests.support.waiting import eventually
from triggerfish.testing.server import Server


@pytest.mark.releases("redis-5.0", "valkey-9.1")
async def test_calls_that_never_end_do_not_keep_a_process(server: Server, client: redis.asyncio.Redis) -> None:
    """A stuck thread and a coroutine that ignores its cancellation are abandoned, and their entries are released."""
    await add(client, "list", "on a thread", key="for:thread")
    await add(client, "stream", "on the loop", key="for:loop")
    process = subprocess.Popen(
        [sys.executable, "-m", "triggerfish", "run", "tests.apps.stubborn:app"],
        cwd=ROOT,
        env={
            **os.environ,
            "TRIGGERFISH_CONNECTION": server.address,
            "TRIGGERFISH_INSTANCE": "stubborn",
            "TRIGGERFISH_HOST__GRACE_PERIOD_SECONDS": "0.5",
            "TRIGGERFISH_HOST__LEASE_SECONDS": "3600",
        },
        preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
    )
    try:
        await eventually(lambda: reached(client, "started", 2))
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
    finally:
        process.kill()
        process.wait()
    # Available at once, and the delivery does not count.
    assert await client.hvals(elements_key("for:thread")) == [b"1:on a thread"]
    (member,) = await client.execute_command("ZRANGE", inflight_key("for:thread"), 0, -1)
    assert member.endswith(b":w0:0")
    (pending,) = await client.xpending_range("for:loop", GROUP, "-", "+", 10)
    assert (pending["times_delivered"], int(pending["time_since_delivered"]) >= 3_600_000) == (1, True)
