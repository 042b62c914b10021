"""Where Redis is: connection strings in both forms, and named connections. No I/O."""

from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import SecretStr

from listeners.runtime.files import FileStamp

__all__ = ["ConnectionSpec", "Endpoint"]

DEFAULT_PORT = 6379


class Endpoint(NamedTuple):
    """Where one server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ConnectionSpec:
    """One Redis, as a connection string names it. Its repr shows no secret.

    `host` and `port`, or `unix_path`: a server, or any node of a cluster (the server says which); `others` are further
    nodes. With a `service` all of them are Sentinels that know where its primary is.

    No string can say what follows. `password_file`, `ca_file`, `certificate_file` and `key_file` are read whenever a
    connection is made; `entra`: with tokens of Entra ID. `allowed_hosts` (see listeners.hosts): where it may lead,
    whoever says so; None: anywhere. `files` is what they were when this was made (see listeners.files.stamp): a spec
    whose files have been replaced is another one.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    unix_path: str | None = None
    database: int = 0
    username: str | None = None
    password: SecretStr | None = field(default=None, repr=False)
    tls: bool = False
    others: tuple[Endpoint, ...] = ()
    service: str | None = None
    sentinel_username: str | None = None
    sentinel_password: SecretStr | None = field(default=None, repr=False)
    password_file: str | None = None
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    entra: bool = False
    allowed_hosts: tuple[str, ...] | None = None
    files: tuple[tuple[str, FileStamp], ...] = ()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every server that the string names."""
        return (Endpoint(self.host, self.port), *self.others)

    @property
    def address(self) -> str:
        """What people may see: where, never as whom."""
        place = self.unix_path or ",".join(map(str, self.endpoints))
        if self.service is not None:
            place = f"{self.service}@{place}"
        return f"{place}/{self.database}" if self.database else place
