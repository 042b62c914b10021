"""Describes the machine, the time and the versions of a benchmark run."""

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
    """Describe the time, the machine and its load average."""
    return f"{now()}, {system()}, load average {os.getloadavg()[0]:.1f} before the start"


def now() -> str:
    """Return the current time in UTC."""
    return f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def system() -> str:
    """Describe the CPUs and the operating system."""
    return f"{os.cpu_count()} CPUs ({_processor()}), {platform.system()} {platform.release()}"


def versions(client: redis.Redis, *packages: str) -> str:
    """Return the versions of the server, Python and the given packages."""
    release = client.info("server")["valkey_version"]
    installed = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"Valkey {release}, Python {platform.python_version()}, {installed}"


def _processor() -> str:
    """Return the processor's model name, or its architecture where the model is not known."""
    if CPU_INFO.exists():
        model = re.search(r"^model name\s*: (.*)$", CPU_INFO.read_text(), re.MULTILINE)
        if model is not None:
            return model[1].strip()
    return platform.machine()
