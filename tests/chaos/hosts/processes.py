"""The host processes under test: killed, drained and replaced."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from listeners.runtime.child_processes import die_with_parent
from tests.support.waiting import eventually

__all__ = ["GRACE_SECONDS", "Ending", "HostProcess", "Hosts"]

ROOT = Path(__file__).parents[3]
APP = "tests.chaos.hosts.app:app"
GRACE_SECONDS = 5
#: A drain may take its grace period, plus several final steps of two seconds each while Redis does not respond.
DRAIN_SECONDS = GRACE_SECONDS + 20.0
WATCH_SECONDS = 0.1


@dataclass
class HostProcess:
    """One process; `signalled` is the signal sent to it, if any, at `signalled_ns` (time.monotonic_ns)."""

    instance: str
    process: "subprocess.Popen[bytes]"
    log: Path
    signalled: signal.Signals | None = None
    signalled_ns: int = 0

    @property
    def ready(self) -> bool:
        """Whether the process has logged that it runs, which it does once its signal handlers are installed."""
        return b" runs as " in self.log.read_bytes()


@dataclass(frozen=True)
class Ending:
    """How a process ended: the signal sent at `signalled_ns` (time.monotonic_ns), and the `seconds` from then on."""

    instance: str
    signalled: signal.Signals | None
    status: int
    seconds: float
    signalled_ns: int = 0


@dataclass
class Hosts:
    """A fixed number of slots, each with one process at a time. A process that ends is replaced immediately.

    `settings` are environment variables for the hosts; `folder` receives their logs and records.
    """

    folder: Path
    settings: dict[str, str]
    number: int
    slots: list[HostProcess] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    _started: int = 0
    _draining: set[asyncio.Task[None]] = field(default_factory=set)
    _watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start a process in each slot and wait until all are ready."""
        self.slots = [self._spawn() for _ in range(self.number)]
        await self.all_ready()
        self._watching = asyncio.create_task(self._watch())

    async def all_ready(self) -> None:
        """Wait until the processes in all slots are ready."""
        await eventually(lambda: all(host.ready for host in self.slots), seconds=60)

    async def kill(self, slot: int) -> None:
        """Replace the process in a slot and send SIGKILL to the old one."""
        host = self._replace(slot)
        began = time.monotonic()
        self._signal(host, signal.SIGKILL)
        await self._ended(host, began)

    async def drain(self, slot: int) -> None:
        """Replace the process in a slot, send SIGTERM to the old one, and await its end in the background."""
        await eventually(lambda: self.slots[slot].ready, seconds=60)
        host = self._replace(slot)
        began = time.monotonic()
        self._signal(host, signal.SIGTERM)
        task = asyncio.create_task(self._ended(host, began))
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def suspend(self, slot: int, seconds: float) -> None:
        """Suspend the process in a slot."""
        process = self.slots[slot].process
        process.send_signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Drain all processes and wait until they have ended."""
        await self.all_ready()
        await self._stop_watching()
        hosts, self.slots = self.slots, []
        began = time.monotonic()
        for host in hosts:
            self._signal(host, signal.SIGTERM)
        await asyncio.gather(*self._draining, *(self._ended(host, began) for host in hosts))

    async def abandon(self) -> None:
        """Kill the remaining processes without waiting for a drain."""
        await self._stop_watching()
        for task in self._draining:
            task.cancel()
        for host in self.slots:
            host.process.kill()
            host.process.wait()
        self.slots = []

    def of(self, instance: str) -> int | None:
        """Return the slot of an instance, or None if it has been replaced."""
        return next((slot for slot, host in enumerate(self.slots) if host.instance == instance), None)

    def logged(self, text: str) -> list[str]:
        """Return the log lines of all processes, past ones included, that contain this text."""
        paths = sorted(self.folder.glob("*.log"))
        return [line for path in paths for line in path.read_text(errors="replace").splitlines() if text in line]

    def _replace(self, slot: int) -> HostProcess:
        host = self.slots[slot]
        self.slots[slot] = self._spawn()
        return host

    def _spawn(self) -> HostProcess:
        self._started += 1
        instance = f"host{self._started:03d}"
        log = self.folder / f"{instance}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "triggerfish", "run", APP],
                cwd=ROOT,
                env={**os.environ, **self.settings, "TRIGGERFISH_INSTANCE": instance},
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
            )
        return HostProcess(instance, process, log)

    @staticmethod
    def _signal(host: HostProcess, number: signal.Signals) -> None:
        if host.process.poll() is None:  # otherwise it has exited by itself and is reported so
            host.signalled, host.signalled_ns = number, time.monotonic_ns()
            host.process.send_signal(number)

    async def _ended(self, host: HostProcess, began: float) -> None:
        """Wait until a process ends and record how; after DRAIN_SECONDS kill it, which its status shows."""
        with contextlib.suppress(AssertionError):
            await eventually(lambda: host.process.poll() is not None, seconds=DRAIN_SECONDS)
        host.process.kill()
        status = host.process.wait()
        seconds = time.monotonic() - began
        self.endings.append(Ending(host.instance, host.signalled, status, seconds, host.signalled_ns))

    async def _watch(self) -> None:
        """Replace processes that exit by themselves."""
        while True:
            for slot, host in enumerate(self.slots):
                if host.process.poll() is not None:
                    self._replace(slot)
                    await self._ended(host, time.monotonic())
            await asyncio.sleep(WATCH_SECONDS)

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
