"""The name and version of a server, and which commands it has. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from listeners.text import decode

__all__ = ["ServerInfo", "read_info"]


def read_info(reply: object) -> dict[str, str]:
    """Return the fields of a reply to INFO; none if it is not one."""
    lines = decode(reply).splitlines() if isinstance(reply, bytes) else []
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


@dataclass(frozen=True)
class ServerInfo:
    """A server: `name` is Redis or Valkey, `version` its own version, or (0,) if unknown.

    `cluster`: it is a node of a cluster.
    """

    name: str = "Redis"
    version: tuple[int, ...] = (0,)
    cluster: bool = False

    @classmethod
    def of(cls, info: Mapping[str, str]) -> "ServerInfo":
        """Return what the fields of INFO server tell."""
        name, field = ("Valkey", "valkey_version") if "valkey_version" in info else ("Redis", "redis_version")
        version = tuple(int(part) for part in re.findall(r"\d+", info.get(field, "0"))[:3]) or (0,)
        return cls(name, version, info.get("redis_mode", info.get("server_mode")) == "cluster")

    @property
    def command_version(self) -> tuple[int, ...]:
        """The Redis version whose commands it has. Valkey forked from Redis 7.2.4 and counts its own versions since."""
        return max(self.version, (7, 2, 4)) if self.name == "Valkey" else self.version

    def supports(self, *version: int) -> bool:
        """Return whether it has the commands of this Redis version."""
        return self.command_version >= version

    def __str__(self) -> str:
        if self.version == (0,):
            return "Redis of unknown version (INFO is denied)"
        return f"{self.name} {'.'.join(map(str, self.version))}{' cluster' if self.cluster else ''}"
