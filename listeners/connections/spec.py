"""One Redis, as a connection describes it. No I/O."""

from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import SecretStr

from listeners.runtime.files import FileStamp

__all__ = ["ConnectionSpec", "Endpoint"]

DEFAULT_PORT = 6379


class Endpoint(NamedTuple):
    """The host and port of one server."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class ConnectionSpec:
    """One Redis, as a connection string describes it. Its repr shows no secret.

    `host` and `port`, or `unix_path`, are a server or any node of a cluster; the server reports which. `others` are
    further nodes. With a `service`, all of them are Sentinels that monitor its primary.

    `server_name` is the name that every server's certificate must have, if it differs from the host.

    The fields from `password_file` on cannot be set in a string. `password_file`, `ca_file`, `certificate_file` and
    `key_file` are read for each new connection. `entra` uses Entra ID tokens. `allowed_hosts` (see
    `listeners.connections.allowed_hosts`) limits every host that is connected to, including those that Sentinels and
    cluster nodes report; None sets no limit. With a limit, `namespace` is that of the ScaledObject with the string.
    `files` are the stamps of the files when the spec was made (see `listeners.runtime.files.file_stamp`), so a spec
    whose files have been replaced differs from it.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    unix_path: str | None = None
    database: int = 0
    username: str | None = None
    password: SecretStr | None = field(default=None, repr=False)
    tls: bool = False
    server_name: str | None = None
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
    namespace: str = ""
    files: tuple[tuple[str, FileStamp], ...] = ()

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Every server that the string names."""
        return (Endpoint(self.host, self.port), *self.others)

    @property
    def address(self) -> str:
        """The address for logs and pages, without user or password."""
        place = self.unix_path or ",".join(map(str, self.endpoints))
        if self.service is not None:
            place = f"{self.service}@{place}"
        return f"{place}/{self.database}" if self.database else place
