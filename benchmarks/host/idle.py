"""Measures the cost of idle triggers: CPU time, connections and memory of one host with up to 1,000."""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from rich.console import Console
from rich.progress import track

from benchmarks.tables import Table
from listeners.runtime.child_processes import die_with_parent
from triggerfish.testing.server import Server, embedded_binary

ROOT = Path(__file__).parents[2]
KINDS = ("list", "stream", "pubsub")
NUMBERS = (1, 10, 100, 1_000)
#: Each pub/sub trigger renews a lease, so that not as many are of interest.
PUBSUB_NUMBERS = (1, 10, 100)
START_SECONDS = 60.0
#: The host has started when it has sent no more commands than these in each of some seconds in a row. While it starts,
#: it sends several for each trigger. Pub/sub triggers renew their leases, those that began together in one second.
SETTLED_COMMANDS = 20
SETTLED_COMMANDS_PER_TRIGGER = {"list": 0.5, "stream": 0.5, "pubsub": 20.0}
SETTLED_TIMES = 3
SECONDS = 10.0


@dataclass(frozen=True)
class IdleCost:
    """The cost of one idle host. CPU is in milliseconds per second, and commands are per second."""

    connections: int
    commands: float
    cpu_ms: float
    server_cpu_ms: float
    memory_mb: float


Costs = dict[tuple[str, int], IdleCost]


def measure(seconds: float = SECONDS) -> Costs:
    """Measure each kind and number of triggers for `seconds`, with progress on the terminal."""
    cases = [(kind, number) for kind in KINDS for number in (PUBSUB_NUMBERS if kind == "pubsub" else NUMBERS)]
    with Server(embedded_binary()) as server:
        return {case: measure_host(server, *case, seconds) for case in track(cases, description="idle")}


def measure_host(server: Server, kind: str, number: int, seconds: float) -> IdleCost:
    """Start one host, let it settle, and measure it for `seconds`."""
    variables = {"IDLE_KIND": kind, "IDLE_TRIGGERS": str(number), "TRIGGERFISH_CONNECTION": server.address}
    command = [sys.executable, "-m", "triggerfish", "run", "benchmarks/host/idle_app.py"]
    with server.client() as client:
        client.flushall()
        process = subprocess.Popen(  # noqa: S603  (our own command line)
            command,
            cwd=ROOT,
            env={**os.environ, **variables},
            stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )
        try:
            wait_until_settled(client, SETTLED_COMMANDS + SETTLED_COMMANDS_PER_TRIGGER[kind] * number)
            executed = commands(client)
            before = [cpu_seconds(process.pid), cpu_seconds(server.process.pid)]
            time.sleep(seconds)
            after = [cpu_seconds(process.pid), cpu_seconds(server.process.pid)]
            rate = (commands(client) - executed - 1) / seconds  # the one that reads the number
            host_ms, server_ms = ((late - early) / seconds * 1000 for early, late in zip(before, after, strict=True))
            return IdleCost(len(connections(client)), rate, host_ms, server_ms, memory_mb(process.pid))
        finally:
            process.kill()
            process.wait()


def wait_until_settled(client: redis.Redis, most: float) -> None:
    """Wait until the host has connected and sends at most `most` commands per second."""
    deadline = time.monotonic() + START_SECONDS
    rates: list[int] = []
    while not connections(client) or len(rates) <= SETTLED_TIMES or max(rates) > most:
        if time.monotonic() > deadline:
            raise SystemExit(f"the host did not settle within {START_SECONDS:g} s")
        before = commands(client)
        time.sleep(1.0)
        rates = [*rates, commands(client) - before][-SETTLED_TIMES - 1 :]


def commands(client: redis.Redis) -> int:
    """Return how many commands the server has executed."""
    return int(client.info("stats")["total_commands_processed"])


def connections(client: redis.Redis) -> list[str]:
    """Return the names of the host's connections."""
    return [str(one["name"]) for one in client.client_list() if one["name"].startswith("triggerfish:host:")]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process (Linux)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def table(costs: Costs) -> Table:
    """Return the costs as a table."""
    return Table(
        "Idle triggers",
        "One host, connected to one server. CPU is in milliseconds per second.",
        ("kind", "triggers", "connections", "commands/s", "host CPU ms", "server CPU ms", "host memory MB"),
        [
            (
                kind,
                str(number),
                str(cost.connections),
                f"{cost.commands:.1f}",
                f"{cost.cpu_ms:.1f}",
                f"{cost.server_cpu_ms:.1f}",
                f"{cost.memory_mb:.0f}",
            )
            for (kind, number), cost in costs.items()
        ],
        texts=1,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.host.idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="duration of each measurement")
    Console(width=150).print(table(measure(parser.parse_args().seconds)).rich())
