"""The machine, the time and the versions that results belong to."""

import datetime
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import redis

__all__ = ["machine", "now", "system", "versions"]

CPU_INFO = Path("/proc/cpuinfo")


def machine() -> str:
    """When, on what, and how busy it was."""
    return f"{now()}, {system()}, load {os.getloadavg()[0]:.1f} before"


def now() -> str:
    """The time."""
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def system() -> str:
    """The processors and the system."""
    return f"{os.cpu_count()} CPUs ({_processor()}), {platform.system()} {platform.release()}"


def versions(client: redis.Redis, *packages: str) -> str:
    """The server, Python, and packages."""
    release = client.info("server")["valkey_version"]
    installed = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"Valkey {release}, Python {platform.python_version()}, {installed}"


def _processor() -> str:
    """What the processor calls itself."""
    if CPU_INFO.exists():
        named = re.search(r"^model name\s*: (.*)$", CPU_INFO.read_text(), re.MULTILINE)
        if named is not None:
            return named[1].strip()
    return platform.machine()
