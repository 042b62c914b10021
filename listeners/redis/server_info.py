"""The name and version of a server, and which commands it has. No I/O."""

from dataclasses import dataclass

__all__ = ["ServerInfo"]


@dataclass(frozen=True)
class ServerInfo:
    """A server: `name` is Redis or Valkey, `version` its own version, or (0,) if unknown.

    `cluster`: it is a node of a cluster.
    """

    name: str = "Redis"
    version: tuple[int, ...] = (0,)
    cluster: bool = False

    @property
    def command_version(self) -> tuple[int, ...]:
        """The Redis version whose commands it has. Valkey forked from Redis 7.2.4 and counts its own versions since."""
        return max(self.version, (7, 2, 4)) if self.name == "Valkey" else self.version

    def supports(self, *version: int) -> bool:
        """Return whether it has the commands of this Redis version."""
        return self.command_version >= version

    def __str__(self) -> str:
        if self.version == (0,):
            return "unknown server"
        return f"{self.name} {'.'.join(map(str, self.version))}{' cluster' if self.cluster else ''}"
