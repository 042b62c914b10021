"""Instances on one machine: real processes that follow the backlog in a real server."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis.asyncio
from pydantic import SecretStr

from listeners.connections.named import Connections
from listeners.keys import lease_key
from listeners.runtime.child_processes import die_with_parent
from scaler.access.access import Access
from scaler.evaluation.evaluator import Evaluator
from scaler.local import heartbeat
from scaler.local.autoscaler import LocalAutoscaler
from scaler.local.processes import Instances, instance_command
from scaler.measuring.samplers import Samplers
from scaler.settings import LocalSettings
from tests.apps import local
from tests.support.trigger_kinds import reached
from tests.support.waiting import eventually
from triggerfish import App, Host
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

APPS = Path(local.__file__)
GRACE_SECONDS = 5.0
#: Short enough to watch.
QUICK = {"polling_interval_seconds": 0.05, "cooldown_seconds": 0.2, "stabilization_window_seconds": 0.2}


@dataclass
class Local:
    """A running autoscaler, and the result of each of its rounds of measuring: the reason of an error, or None."""

    scaler: LocalAutoscaler
    rounds: list[str | None] = field(default_factory=list)

    @property
    def running(self) -> int:
        """The number of instances that are not draining."""
        return len(self.scaler.instances.running)


def instances_of(server: Server, app: App) -> Instances:
    """Return instances of one of the test's apps."""
    environment = {**os.environ, "TRIGGERFISH_CONNECTION": server.address}
    return Instances(instance_command(f"{APPS}:{app.name}"), environment, GRACE_SECONDS)


@contextlib.asynccontextmanager
async def scaling(server: Server, app: App, **settings: float) -> AsyncIterator[Local]:
    """Scale an app on this machine during the block."""
    rounds: list[str | None] = []
    connections = Connections(SecretStr(server.address))
    samplers = Samplers(bound_seconds=0.5, on_measured=lambda seconds, reason: rounds.append(reason))
    evaluator = Evaluator(Access(connections), samplers)
    limits = LocalSettings.model_validate({**QUICK, **settings})
    scaler = LocalAutoscaler(app, instances_of(server, app), evaluator, connections, limits)
    stop = asyncio.Event()
    running = asyncio.create_task(scaler.run(stop))
    try:
        yield Local(scaler, rounds)
    finally:
        stop.set()
        async with asyncio.timeout(30):
            await running
        await samplers.close()


def alive(process: int) -> bool:
    """Return whether a process runs. A zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_from_zero_and_back(server: Server, client: redis.asyncio.Redis) -> None:
    """Instances go from 0 to the target and back to 0, and each element is handled once."""
    async with scaling(server, local.jobs, max_instances=5) as app:
        await eventually(lambda: len(app.rounds) >= 2)
        assert app.running == 0
        await client.set("hold", "1")
        await client.rpush("jobs", *range(25))
        await eventually(lambda: app.running == 3)
        await eventually(lambda: _counted(client, "started", 25), seconds=30)
        assert (app.running, app.scaler.target) == (3, 3)
        processes = [instance.process for instance in app.scaler.instances.running]
        await client.delete("hold")
        await eventually(lambda: app.running == 0 and not app.scaler.instances.draining, seconds=30)
        assert [process.returncode for process in processes] == [0, 0, 0]
        assert (app.scaler.instances.crashes, app.scaler.instances.peak) == (0, 3)
    handled = [line.split()[1] for line in await client.lrange("handled", 0, -1)]
    assert sorted(map(int, handled)) == list(range(25))


async def _counted(client: redis.asyncio.Redis, key: str, wanted: int) -> bool:
    return int(await client.get(key) or 0) == wanted


async def test_max_is_respected(server: Server, client: redis.asyncio.Redis) -> None:
    """There are never more processes than max_instances, however large the backlog is."""
    await client.rpush("jobs", *range(500))
    await client.set("hold", "1")
    async with scaling(server, local.jobs, max_instances=2) as app:
        await eventually(lambda: app.running == 2)
        rounds = len(app.rounds)
        await eventually(lambda: len(app.rounds) >= rounds + 10)
        assert (app.running, app.scaler.target, app.scaler.instances.peak) == (2, 2, 2)
        await client.delete("hold")
        await client.delete("jobs")


async def test_draining_finishes_the_call_in_progress(server: Server, client: redis.asyncio.Redis) -> None:
    """A surplus instance finishes its call, exits with status 0, and is not counted as a crash."""
    instances = instances_of(server, local.jobs)
    await client.set("hold", "1")
    await client.rpush("jobs", "x")
    await instances.scale_to(1, time.monotonic())
    [instance] = instances.running
    await eventually(lambda: _counted(client, "started", 1), seconds=30)
    await instances.scale_to(0, time.monotonic())
    assert (instances.running, instances.draining) == ([], [instance])
    instances.reap(time.monotonic())
    assert (instances.draining, alive(instance.process.pid)) == ([instance], True)
    await client.delete("hold")
    await eventually(lambda: instance.process.returncode is not None)
    instances.reap(time.monotonic())
    assert (instances.draining, instances.crashes, instance.process.returncode) == ([], 0, 0)
    assert await client.lrange("handled", 0, -1) == [f"{instance.name} x".encode()]


async def test_one_that_does_not_drain_is_killed(server: Server) -> None:
    """A process that ignores SIGTERM is killed when its time is over, and is not counted as a crash."""
    ignoring = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(); time.sleep(60)"
    instances = Instances([sys.executable, "-uc", ignoring], os.environ, 0.0)
    await instances.scale_to(1, 0.0)
    [instance] = instances.running
    ignored = Path(f"/proc/{instance.process.pid}/status")
    await eventually(lambda: _ignores_sigterm(ignored))
    await instances.scale_to(0, 100.0)
    instances.reap(104.0)
    assert alive(instance.process.pid)
    instances.reap(106.0)
    await eventually(lambda: instance.process.returncode is not None)
    instances.reap(106.0)
    assert (instance.process.returncode, instances.crashes, instances.draining) == (-signal.SIGKILL, 0, [])


def _ignores_sigterm(status: Path) -> bool:
    line = next(line for line in status.read_text().splitlines() if line.startswith("SigIgn"))
    return bool(int(line.split()[1], 16) & 1 << (signal.SIGTERM - 1))


async def test_a_killed_process_is_replaced(server: Server, client: redis.asyncio.Redis) -> None:
    """A process that was killed is replaced after a pause, and is counted as a crash."""
    async with scaling(server, local.jobs, min_instances=1) as app:
        await eventually(lambda: app.running == 1)
        [first] = app.scaler.instances.running
        killed_at = time.monotonic()
        first.process.kill()
        await eventually(lambda: app.scaler.instances.crashes == 1)
        await eventually(lambda: app.running == 1)
        [second] = app.scaler.instances.running
        assert second.name != first.name
        assert second.started_at - killed_at >= 0.37
        await client.rpush("jobs", "x")
        await eventually(lambda: client.lrange("handled", 0, -1), seconds=30)


async def test_a_process_that_hangs_is_replaced(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A process whose heartbeat stops is killed and replaced, so that the entries after it are handled."""
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 4.0)
    await client.rpush("jobs", "hang")
    async with scaling(server, local.jobs, min_instances=1, max_instances=1) as app:
        await eventually(lambda: app.running == 1)
        [first] = app.scaler.instances.running
        await eventually(lambda: app.scaler.instances.crashes, seconds=60)
        assert first.process.returncode == -signal.SIGKILL
        killed = f"{first.name} hangs, killing it: its event loop is blocked, or code holds the GIL"
        assert caplog.messages.count(killed) == 1
        await client.rpush("jobs", "x")
        await eventually(lambda: client.lrange("handled", 0, -1), seconds=60)


async def test_a_process_is_killed_once(caplog: pytest.LogCaptureFixture) -> None:
    """No second signal follows, which could reap the process in place of asyncio."""
    instances = Instances(["sleep", "600"], os.environ, 0.0)
    await instances.scale_to(1, time.monotonic())
    [instance] = instances.running
    instance.kill_at = 0.0
    for _ in range(2):
        instances.reap(time.monotonic())
    assert await instance.process.wait() == -signal.SIGKILL
    assert caplog.messages.count(f"{instance.name} did not exit in time, killing it") == 1
    await instances.stop()


async def test_the_pause_grows_with_each_crash() -> None:
    """The pause before the next start doubles with each crash in a row, and a healthy process resets it."""
    instances = Instances(["false"], os.environ, 0.0)

    async def crash(now: float) -> None:
        await instances.scale_to(1, now)
        [instance] = instances.running
        await instance.process.wait()

    now = 0.0
    for shortest, longest in ((0.37, 0.51), (0.74, 1.01), (1.49, 2.01)):
        await crash(now)
        instances.reap(now)
        await instances.scale_to(1, now + shortest)
        assert instances.running == []
        now += longest
    await crash(now)
    now += 60  # as if it had run for a minute
    instances.reap(now)
    await crash(now + 0.51)
    assert instances.crashes == 4


async def test_pubsub_stays_at_one(server: Server, client: redis.asyncio.Redis) -> None:
    """An app with a pub/sub trigger has one instance, with or without traffic."""
    async with scaling(server, local.news, max_instances=4) as app:
        await eventually(lambda: client.execute_command("GET", "triggerfish:{news:on_news}:lease"), seconds=30)
        await eventually(lambda: _subscribed(client))
        for number in range(200):
            await client.publish("news", number)
        await eventually(lambda: reached(client, "handled", 200))
        assert (app.running, app.scaler.target, app.scaler.instances.peak) == (1, 1, 1)


async def _subscribed(client: redis.asyncio.Redis) -> bool:
    [(_, subscribers)] = await client.pubsub_numsub("news")
    return bool(subscribers == 1)


@pytest.mark.parametrize("declared", [local.mixed, local.app], ids=["named", "unnamed"])
async def test_the_lease_holder_stops_last(server: Server, client: redis.asyncio.Redis, declared: App) -> None:
    """When the app is scaled down, the instance that holds the lease stays, although it is the newest."""
    lease = lease_key(Host(declared, Connections()).app_name, "on_news")
    await client.set("hold", "1")
    await client.rpush("jobs", *range(25))
    async with scaling(server, declared, max_instances=3) as app:
        await eventually(lambda: _counted(client, "started", 25), seconds=30)
        newest = app.scaler.instances.running[-1]
        await client.set(lease, newest.name, px=60_000)
        await client.delete("hold")
        await eventually(lambda: app.running == 1, seconds=30)
        assert app.scaler.instances.running == [newest]


async def test_redis_down_holds_the_count(own_server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """While Redis is down, the number of instances does not change, however short cooldown and window are. Each cause
    is logged once, and so is the end.
    """
    with own_server.client() as client:
        client.set("hold", "1")
        client.rpush("jobs", *range(15))
    async with scaling(own_server, local.jobs, cooldown_seconds=0, stabilization_window_seconds=0) as app:
        await eventually(lambda: app.running == 2)
        own_server.process.kill()
        own_server.process.wait()
        await eventually(lambda: app.rounds[-10:] == ["unavailable"] * 10)
        assert (app.running, app.scaler.target, app.scaler.instances.crashes) == (2, 2, 0)
        causes = [record.getMessage() for record in caplog.records if "cannot measure" in record.getMessage()]
        assert f"connecting to {own_server.address} was refused" in causes[-1]
        assert len(causes) == len(set(causes))
        own_server.restart()
        await eventually(lambda: "all triggers can be measured again" in caplog.messages)


async def _connected(client: redis.asyncio.Redis, name: str, wanted: int) -> bool:
    return len([one for one in await client.client_list() if name in one["name"]]) >= wanted


async def test_children_die_with_their_parent(server: Server, client: redis.asyncio.Redis) -> None:
    """When `triggerfish up` is killed, its instances end, also one that hangs."""
    ports = ["--grpc-port", "0", "--http-port", "0"]
    parent = subprocess.Popen(
        [sys.executable, "-m", "triggerfish", "up", f"{APPS}:jobs", "--min-instances", "2", *ports],
        env={**os.environ, "TRIGGERFISH_CONNECTION": server.address},
        preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
    )
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    try:
        await eventually(lambda: len(children.read_text().split()) == 2, seconds=30)
        processes = [int(child) for child in children.read_text().split()]
        await eventually(lambda: _connected(client, "jobs", 2), seconds=30)
        await client.rpush("jobs", "hang")
        await eventually(lambda: client.exists("hanging"))
        parent.kill()
        parent.wait()
        await eventually(lambda: not any(alive(process) for process in processes))
    finally:
        parent.kill()
        parent.wait()
