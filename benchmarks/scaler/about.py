"""Describes the machine and the versions of a run."""

import os
import platform
from importlib.metadata import version

import redis.asyncio

from benchmarks.about import now, system
from benchmarks.scaler.results import About
from listeners.version import __version__

__all__ = ["about"]


async def about(client: redis.asyncio.Redis) -> About:
    """Describe the current environment."""
    server = await client.info("server")
    return About(
        date=now(),
        machine=system(),
        load_before=round(os.getloadavg()[0], 1),
        versions={
            "Triggerfish": __version__,
            "Valkey": str(server["valkey_version"]),
            "Python": platform.python_version(),
            **{package: version(package) for package in ("grpcio", "redis", "hiredis")},
        },
    )
