"""A baseline: the rate at which redis-benchmark, written in C, pops from a list on one connection."""

import csv
import shutil
import subprocess

import redis

from benchmarks.host.scenarios import KEY, Scenario, fill
from triggerfish.testing.server import Server

__all__ = ["PIPELINES", "benchmark", "taken_per_second"]

#: Numbers of LPOPs in one pipeline.
PIPELINES = (1, 10)
SECONDS = 60.0


def benchmark() -> str | None:
    """Return the path of redis-benchmark or valkey-benchmark, or None if neither is installed."""
    return shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")


def taken_per_second(program: str, server: Server, entries: int, pipeline: int) -> float:
    """Measure elements per second; each LPOP takes one."""
    with redis.Redis(port=server.port, protocol=2) as client:
        client.flushdb()
        fill(client, Scenario.parse("list:at-most-once:entries:1"), entries)
    sizes = ("-p", str(server.port), "-n", str(entries), "-c", "1", "-P", str(pipeline))
    done = subprocess.run(  # noqa: S603  (our own command line)
        [program, *sizes, "--csv", "LPOP", KEY], capture_output=True, text=True, timeout=SECONDS, check=True
    )
    return float(next(csv.DictReader(done.stdout.splitlines()))["rps"])
