"""The other floor: what redis-benchmark, written in C, takes from a list on one connection."""

import csv
import shutil
import subprocess

import redis

from benchmarks.scenarios import KEY, Scenario, fill
from triggerfish.testing.server import Server

__all__ = ["PIPELINES", "benchmark", "taken_per_second"]

#: LPOPs that are sent at one time.
PIPELINES = (1, 10)
SECONDS = 60.0


def benchmark() -> str | None:
    """redis-benchmark or valkey-benchmark, where one is installed."""
    return shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")


def taken_per_second(program: str, server: Server, entries: int, pipeline: int) -> float:
    """Elements per second, one by each LPOP."""
    with redis.Redis(port=server.port, protocol=2) as client:
        client.flushdb()
        fill(client, Scenario.parse("list:at-most-once:entries:1"), entries)
    sizes = ("-p", str(server.port), "-n", str(entries), "-c", "1", "-P", str(pipeline))
    done = subprocess.run(  # noqa: S603  (our own command line)
        [program, *sizes, "--csv", "LPOP", KEY], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return float(next(csv.DictReader(done.stdout.splitlines()))["rps"])
