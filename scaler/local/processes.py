"""The processes of an app on this machine: starts and drains them, and replaces those that crash or hang."""

import asyncio
import contextlib
import itertools
import secrets
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass

from listeners.runtime.backoff import Backoff
from listeners.runtime.child_processes import HEARTBEAT_VARIABLE, die_with_parent
from listeners.runtime.logs import steady_logger
from scaler.local.child_output import ChildOutput
from scaler.local.heartbeat import Heartbeat

__all__ = ["Instance", "Instances", "instance_command", "python_command"]

log = steady_logger("triggerfish.local")

#: The delay before the next process starts after a crash. It doubles with each crash in a row, up to the last.
FIRST_RESTART_SECONDS = 0.5
LAST_RESTART_SECONDS = 30.0
#: A process that ran for longer than this resets the back-off.
HEALTHY_SECONDS = 10.0
#: How much longer than its grace period a process may take to exit before it is killed.
KILL_MARGIN_SECONDS = 5.0


@dataclass(eq=False)
class Instance:
    """One process of the app."""

    name: str
    process: asyncio.subprocess.Process
    heartbeat: Heartbeat
    started_at: float
    kill_at: float | None = None
    #: Whether what it runs has changed since it started. It is drained as soon as another one is ready.
    outdated: bool = False
    #: Whether it was sent SIGKILL. A second signal could reap it, and its status would be lost to asyncio.
    killed: bool = False

    @property
    def draining(self) -> bool:
        """Whether it was sent SIGTERM."""
        return self.kill_at is not None


class Instances:
    """The processes of one app. `command` starts one, and `grace_seconds` is how long it may take to drain.

    `output` writes what they write; without it, they write to the streams of this process.
    """

    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        grace_seconds: float,
        output: ChildOutput | None = None,
    ) -> None:
        self._command = command
        self._environment = environment
        self._grace_seconds = grace_seconds
        self._output = output
        self._instances: list[Instance] = []
        # Unique among machines too: leases and consumers are distinguished by it, and containers share process IDs.
        self._name = f"{socket.gethostname()}-{secrets.token_hex(3)}"
        self._numbers = itertools.count(1)
        self._restart = Backoff(FIRST_RESTART_SECONDS, LAST_RESTART_SECONDS)
        self._start_after = 0.0
        self._reaped_at = time.monotonic()
        self._ending = False
        self._renewals = 0
        self.crashes = 0
        self.peak = 0

    @property
    def running(self) -> list[Instance]:
        """The instances that are neither draining nor outdated, oldest first."""
        return [instance for instance in self._instances if not instance.draining and not instance.outdated]

    @property
    def draining(self) -> list[Instance]:
        """The instances that are finishing the work in progress, or will as soon as another one is ready."""
        return [instance for instance in self._instances if instance.draining or instance.outdated]

    def reap(self, now: float) -> None:
        """Remove processes that have exited, and kill those that hang or drain too long. An exit without SIGTERM is a
        crash.
        """
        elapsed, self._reaped_at = now - self._reaped_at, now
        for instance in list(self._instances):
            code = instance.process.returncode
            if code is None:
                self._kill_if_stuck(instance, now, elapsed)
                continue
            # What a lifespan needs may be held by the instance that this one was to replace.
            has_started = instance.heartbeat.has_started()
            self._remove(instance)
            if not instance.draining and not instance.outdated:
                self._crashed(instance, code, now)
                if has_started:
                    self._drain_outdated(now)
        if any(_has_taken_over(instance, now) for instance in self.running):
            self._drain_outdated(now)

    async def scale_to(self, wanted: int, now: float, keep: frozenset[str] = frozenset()) -> None:
        """Start or drain processes. The instances named in `keep` are drained last. After drain(), none is started."""
        while not self._ending and len(self.running) < wanted and now >= self._start_after:
            renewals = self._renewals
            started = await self._start(now)
            self._instances.append(started)
            if renewals != self._renewals:  # it may have started before the change
                self._drain(started, now)
            self.peak = max(self.peak, len(self.running))
        surplus = len(self.running) - wanted
        drained_first = self.running[::-1]
        drained_first.sort(key=lambda instance: instance.name in keep)
        for instance in drained_first[: max(surplus, 0)]:
            self._drain(instance, now)
        if wanted == 0:
            self._drain_outdated(now)

    def renew(self, environment: Mapping[str, str], grace_seconds: float) -> None:
        """Have all processes replaced, because what they run has changed. The next scale_to() starts others.

        Those that run go on until another one is ready, so that there is always one that works.
        """
        self._environment, self._grace_seconds = environment, grace_seconds
        self._renewals += 1
        self._restart.reset()
        self._start_after = 0.0
        for instance in self.running:
            if instance.heartbeat.has_started():
                instance.outdated = True
            else:
                self._drain(instance, time.monotonic())

    def drain(self) -> None:
        """Drain all processes without delay: the signal that ends this process may have reached them too, and a second
        one after a while would end them before they have drained.
        """
        self._ending = True
        now = time.monotonic()
        for instance in self.running:
            self._drain(instance, now)
        self._drain_outdated(now)

    async def stop(self) -> None:
        """Drain all processes and wait until they have exited. Those that take too long are killed."""
        self.drain()
        waits = [asyncio.create_task(instance.process.wait()) for instance in self._instances]
        if waits:
            await asyncio.wait(waits, timeout=self._grace_seconds + KILL_MARGIN_SECONDS)
        for instance in self._instances:
            _kill(instance)
        if waits:
            await asyncio.wait(waits, timeout=KILL_MARGIN_SECONDS)
        if self._output is not None:
            await self._output.finish()
        for instance in list(self._instances):
            self._remove(instance)

    async def _start(self, now: float) -> Instance:
        name = f"{self._name}-{next(self._numbers)}"
        pipe = asyncio.subprocess.PIPE if self._output is not None else None
        heartbeat = Heartbeat()
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdout=pipe,
            stderr=pipe,
            env={**self._environment, "TRIGGERFISH_INSTANCE": name, HEARTBEAT_VARIABLE: str(heartbeat.writer)},
            pass_fds=[heartbeat.writer],
            preexec_fn=die_with_parent(signal.SIGKILL),  # one that hangs ends at no other signal
            start_new_session=True,  # Ctrl-C must reach only this process, which then drains the instances
        )
        heartbeat.started()
        if self._output is not None:
            self._output.follow(name, process)
        log.info("started %s (process %d)", name, process.pid)
        return Instance(name, process, heartbeat, now)

    def _kill_if_stuck(self, instance: Instance, now: float, elapsed: float) -> None:
        if instance.killed:
            return
        if instance.kill_at is not None:
            if now > instance.kill_at:
                log.warning("%s did not exit in time, killing it", instance.name)
                _kill(instance)
        elif instance.heartbeat.has_stopped(elapsed):
            log.error("%s hangs, killing it: its event loop is blocked, or code holds the GIL", instance.name)
            _kill(instance)

    def _remove(self, instance: Instance) -> None:
        self._instances.remove(instance)
        instance.heartbeat.close()

    def _drain(self, instance: Instance, now: float) -> None:
        log.info("draining %s", instance.name)
        instance.kill_at = now + self._grace_seconds + KILL_MARGIN_SECONDS
        _signal(instance, signal.SIGTERM)

    def _drain_outdated(self, now: float) -> None:
        for instance in self._instances:
            if instance.outdated and not instance.draining:
                self._drain(instance, now)

    def _crashed(self, instance: Instance, code: int, now: float) -> None:
        self.crashes += 1
        if now - instance.started_at > HEALTHY_SECONDS:
            self._restart.reset()
        pause = self._restart.pause_seconds()
        self._start_after = now + pause
        log.warning("%s exited with status %d; the next instance starts in %.1f s", instance.name, code, pause)


def _has_taken_over(instance: Instance, now: float) -> bool:
    """Return whether an instance that replaces others does what they did, or has had the time for it."""
    if instance.heartbeat.is_ready():
        return True
    return instance.heartbeat.has_started() and now - instance.started_at > HEALTHY_SECONDS


def instance_command(reference: str, *options: str, reloaded: bool = False) -> list[str]:
    """Return an instance's command line: `triggerfish run` with this Python. `reloaded`: the app's files may change."""
    return [*python_command("triggerfish", reloaded=reloaded), "run", reference, *options]


def python_command(module: str, *, reloaded: bool = False) -> list[str]:
    """Return the command line that runs a module with this Python.

    Python takes compiled code for that of a file with the same time in seconds and the same size. A file that may have
    changed twice in a second (`reloaded`) must not leave any.
    """
    return [sys.executable, *_path_options(), *(["-B"] if reloaded else []), "-m", module]


def _path_options() -> list[str]:
    """Return the options of Python with which an instance imports from the same folders as this process.

    Only `python -m` imports from the current folder.
    """
    if sys.flags.isolated:
        return ["-I"]
    run_as_module = getattr(sys.modules["__main__"], "__spec__", None) is not None
    return [] if run_as_module and not sys.flags.safe_path else ["-P"]


def _kill(instance: Instance) -> None:
    if not instance.killed:
        instance.killed = True
        _signal(instance, signal.SIGKILL)


def _signal(instance: Instance, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        instance.process.send_signal(number)
