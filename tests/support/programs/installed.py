"""Programs of the system that some tests use, and the packages that provide them."""

import shutil

from tests.servers.catalogue import ALL_REQUIRED

__all__ = ["collectable", "program"]

#: The system package that provides each program.
PACKAGES = {"chromium": "chromium", "promtool": "prometheus", "prometheus": "prometheus", "faketime": "faketime"}


def program(name: str) -> str:
    """Return the path of a program. Raise RuntimeError with the command that installs it if it is missing."""
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing: apt-get install --no-install-recommends {PACKAGES[name]}")
    return found


def collectable(name: str) -> bool:
    """Return whether to collect tests that use a program: if it is installed, or if all programs are required (CI)."""
    return ALL_REQUIRED or shutil.which(name) is not None
