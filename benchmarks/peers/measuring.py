"""Measures one process of an entrant: its rate, start-up time and memory."""

import dataclasses
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from benchmarks.host.contenders import Contender
from benchmarks.host.scenarios import KEY
from benchmarks.host.throughput import NoReport, Run, first_line, running
from benchmarks.peers.backlog import Backlogs
from benchmarks.peers.entrants import Entrant
from listeners.pubsub.queue import MAX_MESSAGES
from triggerfish.testing.server import Server

__all__ = ["Failed", "Measured", "Measuring", "Memory"]

SUBSCRIBE_SECONDS = 30.0
#: Pause between the end of a run and the measurement of memory at rest.
REST_SECONDS = 1.0


class Failed(Exception):  # noqa: N818  (it is a result)
    """An entrant could not be measured; the message gives the reason."""


@dataclass(frozen=True)
class Measured:
    """The result of one process.

    `start_seconds` is the time from the process's start to its first call; None for pub/sub, where messages are sent
    once the process has subscribed.
    """

    run: Run
    start_seconds: float | None


@dataclass(frozen=True)
class Memory:
    """RSS in bytes: at rest after the run, and at its peak with a backlog of `backlog` entries."""

    at_rest: int
    peak: int
    backlog: int


class Measuring:
    """Runs entrants on one server; `entries` is the number for an entrant whose share is 1."""

    def __init__(self, server: Server, entries: int) -> None:
        self._server = server
        self._entries = entries
        self._backlogs = Backlogs(server)

    def entries(self, entrant: Entrant) -> int:
        """Return how many entries an entrant handles: at most MAX_MESSAGES messages, as Triggerfish would drop more."""
        entries = max(10, int(self._entries * entrant.share))
        return min(entries, MAX_MESSAGES) if entrant.scenario.kind == "pubsub" else entries

    def prepare(self, entrant: Entrant) -> None:
        """Create the entrant's backlog."""
        try:
            self._backlogs.prepare(entrant, self.entries(entrant))
        except (OSError, subprocess.SubprocessError, RuntimeError) as error:
            raise Failed(f"its client did not fill the backlog: {error}") from error

    def measure(self, entrant: Entrant) -> Measured:
        """Measure rate, CPU time and start-up time."""
        with self._handled(entrant, self.entries(entrant)) as (measured, _):
            return measured

    def memory(self, entrant: Entrant, backlog: int) -> Memory:
        """Measure memory after a run, and in another process that handles the first part of a long backlog."""
        with self._handled(entrant, self.entries(entrant)) as (_, pid):
            time.sleep(REST_SECONDS)
            at_rest, peak = resident(pid)
        if not entrant.clonable:
            return Memory(at_rest, peak, self.entries(entrant))
        with self._handled(entrant, max(backlog, self.entries(entrant))) as (_, pid):
            return Memory(at_rest, resident(pid)[1], max(backlog, self.entries(entrant)))

    @contextmanager
    def _handled(self, entrant: Entrant, backlog: int) -> Iterator[tuple[Measured, int]]:
        """Run a process until it has handled its entries; yield its report and process ID."""
        entries = self.entries(entrant)
        published = entrant.scenario.kind == "pubsub"
        with redis.Redis(port=self._server.port, protocol=2) as client:
            client.flushdb()
        if not published:
            self._backlogs.put(entrant, backlog)
        began = time.monotonic()
        with running(self._server, entrant.scenario, self._contender(entrant), entries) as process:
            if published:
                self._wait_for_subscriber()
                self._backlogs.publish(entrant, backlog)
            try:
                run = Run(**json.loads(first_line(process, entrant.name)))
            except NoReport as error:
                raise Failed(str(error)) from error
            started = None if published else time.monotonic() - began - run.seconds
            yield Measured(run, started), process.pid

    def _contender(self, entrant: Entrant) -> Contender:
        url = {"BENCH_URL": f"redis://{self._server.address}/0"}
        return dataclasses.replace(entrant.contender, environment={**entrant.contender.environment, **url})

    def _wait_for_subscriber(self) -> None:
        deadline = time.monotonic() + SUBSCRIBE_SECONDS
        with redis.Redis(port=self._server.port, protocol=2) as client:
            while client.pubsub_numsub(KEY)[0][1] == 0:
                if time.monotonic() > deadline:
                    raise Failed(f"did not subscribe within {SUBSCRIBE_SECONDS:g} s")
                time.sleep(0.05)


def resident(pid: int) -> tuple[int, int]:
    """Return the current and the peak RSS of a process in bytes (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = {name: value for name, _, value in (line.partition(":") for line in lines)}
    now, peak = (int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    return now, peak
