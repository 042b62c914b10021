"""Programs of the system that some tests use: where they are, and what to do if they are not."""

import shutil

from tests.servers.catalogue import ALL_REQUIRED

__all__ = ["collectable", "program"]

#: By program, the package of the system that brings it.
PACKAGES = {"chromium": "chromium", "promtool": "prometheus", "prometheus": "prometheus"}


def program(name: str) -> str:
    """The path of a program. Raises RuntimeError that says what to install."""
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is missing: apt-get install --no-install-recommends {PACKAGES[name]}")
    return found


def collectable(name: str) -> bool:
    """Whether tests that use a program are collected: where it is, and where everything must be, as in CI."""
    return ALL_REQUIRED or shutil.which(name) is not None
