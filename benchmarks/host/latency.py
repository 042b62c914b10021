"""Measures idle-to-handler latency: from sending a message to an idle host to the start of its function's call.

Triggerfish and a hand-written blocking loop take turns, each as a separate process, on one real server. Messages are
sent one at a time, after a pause in which everything is idle. Part of `make bench`.
"""

import argparse
import contextlib
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis
from rich.console import Console
from rich.progress import track

from benchmarks.host.quantiles import quantiles
from benchmarks.tables import Table
from listeners.runtime.child_processes import die_with_parent
from triggerfish.testing.server import Server, embedded_binary

ROOT = Path(__file__).parents[2]
ROUNDS = 5
#: For each kind of trigger and each host.
MESSAGES = 2000
ANSWER_SECONDS = 5.0
START_SECONDS = 30.0
#: Shortest and longest pause before a message: long enough for the host to be waiting again.
PAUSE_SECONDS = (0.002, 0.02)

Send = Callable[[redis.Redis, int], object]

SENDERS: dict[str, Send] = {
    "list": lambda client, sent: client.rpush("latency:list", sent),
    "stream": lambda client, sent: client.xadd("latency:stream", {"sent": sent}),
    "pub/sub": lambda client, sent: client.publish("latency:channel", str(sent)),
}
HOSTS = {
    "triggerfish": lambda server: [sys.executable, "-m", "triggerfish", "run", "benchmarks/host/latency_app.py"],
    "raw loop": lambda server: [sys.executable, "-m", "benchmarks.host.raw_loops", str(server.port)],
}

Latencies = dict[tuple[str, str], list[float]]


def measure(messages: int = MESSAGES) -> Latencies:
    """Measure `messages` of each kind for each host, with progress on the terminal."""
    found: Latencies = {(host, kind): [] for host in HOSTS for kind in SENDERS}
    with Server(embedded_binary()) as server, report_socket() as receiver:
        for number in track(range(2 * ROUNDS), description="latency"):
            host = list(HOSTS)[number % 2]
            with running(host, server, receiver):
                for kind in SENDERS:
                    found[host, kind] += measure_latencies(kind, server, receiver, messages // ROUNDS)
    return found


@contextlib.contextmanager
def report_socket() -> Iterator[socket.socket]:
    """Open the socket to which the functions send their latencies."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(Path(folder, "answers")))
        yield receiver


@contextlib.contextmanager
def running(host: str, server: Server, receiver: socket.socket) -> Iterator[None]:
    """Run one of the hosts during the block; it handles messages of all three kinds."""
    with server.client() as client:
        client.flushall()
    process = subprocess.Popen(  # noqa: S603  (our own command line)
        HOSTS[host](server),
        cwd=ROOT,
        env={**os.environ, "TRIGGERFISH_CONNECTION": server.address, "LATENCY_SOCKET": receiver.getsockname()},
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
    )
    try:
        wait_until_ready(server, receiver)
        yield
    finally:
        process.kill()
        process.wait()


def wait_until_ready(server: Server, receiver: socket.socket) -> None:
    """Send messages of each kind until one is handled, then discard the latencies."""
    deadline = time.monotonic() + START_SECONDS
    for kind in SENDERS:
        while not measure_latencies(kind, server, receiver, 1, seconds=0.2):
            if time.monotonic() > deadline:
                raise SystemExit(f"the host did not handle a {kind} message within {START_SECONDS:g} s")
    receiver.settimeout(0.2)
    with contextlib.suppress(TimeoutError):
        while True:
            receiver.recv(64)


def measure_latencies(
    kind: str, server: Server, receiver: socket.socket, messages: int, seconds: float = ANSWER_SECONDS
) -> list[float]:
    """Return the latencies of `messages` messages in ms; fewer if one was not handled within `seconds`."""
    receiver.settimeout(seconds)
    latencies: list[float] = []
    with redis.Redis(port=server.port, protocol=2) as client:
        for _ in range(messages):
            time.sleep(random.uniform(*PAUSE_SECONDS))
            SENDERS[kind](client, time.monotonic_ns())
            try:
                latencies.append(int(receiver.recv(64)) / 1e6)
            except TimeoutError:
                break
    return latencies


def table(found: Latencies) -> Table:
    """Return p50 and p99 of both hosts, the ratio of the medians and the difference of the p99."""
    rows = []
    for kind in SENDERS:
        (own_50, own_99), (raw_50, raw_99) = (quantiles(found[host, kind]) for host in HOSTS)
        figures = (own_50, own_99, raw_50, raw_99, own_50 / raw_50, own_99 - raw_99)
        rows.append((kind, f"{len(found['triggerfish', kind]):,}", *(f"{figure:.2f}" for figure in figures)))
    return Table(
        "Idle to handler",
        "Time from sending one message to an idle host to the start of its function's call, compared with a raw "
        "blocking loop. Triggerfish waits for a report of the change and then takes the entry, which is two trips. The "
        "raw loop's BLPOP and XREADGROUP take one, and its BLPOP delivers at most once.",
        (
            "trigger",
            "messages",
            "host p50 ms",
            "host p99 ms",
            "raw p50 ms",
            "raw p99 ms",
            "p50 ratio",
            "p99 difference ms",
        ),
        rows,
        texts=1,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="benchmarks.host.latency", description=__doc__)
    parser.add_argument("--messages", type=int, default=MESSAGES, help="number of messages for each kind and host")
    Console(width=150).print(table(measure(parser.parse_args().messages)).rich())
