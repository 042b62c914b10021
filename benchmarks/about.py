"""The machine, the time and the versions that results belong to."""

import datetime
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import redis

__all__ = ["machine", "processor", "versions"]

CPU_INFO = Path("/proc/cpuinfo")


def machine() -> str:
    """When, and on what."""
    now = datetime.datetime.now(datetime.UTC)
    system = f"{os.cpu_count()} CPUs ({processor()}), {platform.system()} {platform.release()}"
    return f"{now:%Y-%m-%d %H:%M} UTC, {system}, load {os.getloadavg()[0]:.1f} before"


def versions(client: redis.Redis, *packages: str) -> str:
    """The server, Python, and packages."""
    release = client.info("server")["valkey_version"]
    installed = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"Valkey {release}, Python {platform.python_version()}, {installed}"


def processor() -> str:
    """What the processor calls itself."""
    if CPU_INFO.exists():
        named = re.search(r"^model name\s*: (.*)$", CPU_INFO.read_text(), re.MULTILINE)
        if named is not None:
            return named[1].strip()
    return platform.machine()
