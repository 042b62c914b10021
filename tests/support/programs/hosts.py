"""Hosts in separate processes, for tests that kill them. Run as a module, this is such a process."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import redis.asyncio
from pydantic import SecretStr

from listeners.connections.named import Connections
from listeners.functions.loading import load_app
from listeners.runtime.child_processes import die_with_parent
from listeners.settings import HostSettings
from tests.support.waiting import eventually
from triggerfish import Host
from triggerfish.testing.server import Server

ROOT = Path(__file__).parents[3]
RECORDER = "tests.apps.recorder"


@contextlib.contextmanager
def host_process(
    server: Server, instance: str, *, app: str = RECORDER, **settings: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run an app in a process, killed after the block. Keyword arguments are HostSettings."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.programs.hosts", server.address, app, json.dumps(settings)],
        cwd=ROOT,
        env={**os.environ, "TRIGGERFISH_INSTANCE": instance, "RECORDER_PORT": str(server.port)},
        preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.asynccontextmanager
async def host_processes(
    server: Server, client: redis.asyncio.Redis, *instances: str, **settings: Any
) -> AsyncIterator[None]:
    """Run several processes of the recorder, all connected to the server when the block begins."""
    with contextlib.ExitStack() as stack:
        for instance in instances:
            stack.enter_context(host_process(server, instance, **settings))

        async def connected() -> bool:
            names = {connection["name"].rpartition(":")[2] for connection in await client.client_list()}
            return names.issuperset(instances)

        await eventually(connected)
        yield


@contextlib.asynccontextmanager
async def restarted_host(
    server: Server, *, app: str, **settings: Any
) -> AsyncIterator[list["subprocess.Popen[bytes]"]]:
    """Run an app in one process at a time; one that ends is followed by another. Yields all that were started."""
    processes: list[subprocess.Popen[bytes]] = []

    async def restart() -> None:
        while True:
            with host_process(server, f"host{len(processes)}", app=app, **settings) as process:
                processes.append(process)
                await eventually(lambda: process.poll() is not None, seconds=120)

    restarting = asyncio.create_task(restart())
    try:
        yield processes
    finally:
        restarting.cancel()
        await asyncio.gather(restarting, return_exceptions=True)


async def ended(process: "subprocess.Popen[bytes]") -> int:
    """Wait for the end of a process and return its exit status."""
    await eventually(lambda: process.poll() is not None)
    return process.returncode


def main(address: str, app: str, settings: str) -> None:
    """Run an app until it is signalled."""
    host = Host(load_app(app), Connections(SecretStr(address)), HostSettings.model_validate_json(settings))
    asyncio.run(host.run_until_signalled())


if __name__ == "__main__":
    main(*sys.argv[1:])
