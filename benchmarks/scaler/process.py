"""Runs `triggerfish scaler` as a separate process and reads its resource usage."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil

from listeners.runtime.child_processes import die_with_parent
from triggerfish.testing.server import free_port

__all__ = ["ScalerProcess", "running_scaler"]

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 10.0


class ScalerProcess:
    """A running scaler whose gRPC port is at `address`."""

    def __init__(self, process: "subprocess.Popen[bytes]", address: str) -> None:
        self.address = address
        self._process = psutil.Process(process.pid)

    def cpu_seconds(self) -> float:
        """Return the CPU time that the scaler has used in user and system mode."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def resident_bytes(self) -> int:
        """Return the scaler's current memory (RSS)."""
        return int(self._process.memory_info().rss)


@contextlib.asynccontextmanager
async def running_scaler(address: str) -> AsyncIterator[ScalerProcess]:
    """Run a scaler of the Redis at this address during the block, with default settings otherwise; it accepts
    connections when the block begins.
    """
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: ASYNC220, S603  (it returns at once; our own command line)
            [sys.executable, "-m", "triggerfish", "scaler", "--grpc-port", str(port), "--log-level", "warning"],
            cwd=ROOT,
            env={**os.environ, "TRIGGERFISH_CONNECTION": address, "TRIGGERFISH_SCALER__HTTP_PORT": "0"},
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )
        try:
            if not await _accepts_connections(process, port):
                log.seek(0)
                raise SystemExit(f"the scaler did not start: {log.read().decode(errors='replace')[-500:]}")
            yield ScalerProcess(process, f"127.0.0.1:{port}")
        finally:
            await _stop(process)


async def _accepts_connections(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return True
    return False


async def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        await asyncio.to_thread(process.wait, STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
