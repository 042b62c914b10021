"""A real Redis with TLS."""

from pathlib import Path

from listeners.connections.settings import ConnectionSettings
from tests.servers.catalogue import RELEASES
from tests.support.network.certificates import Authority
from triggerfish.testing.server import free_port

__all__ = ["Secured"]


class Secured:
    """A Redis that also has a TLS port, with the certificates in `folder`, for `hosts` or for this machine."""

    def __init__(self, folder: Path, *arguments: str, hosts: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.authority = Authority().write(folder, *hosts)
        self.tls_port = free_port()
        files = ("--tls-cert-file", "tls.crt", "--tls-key-file", "tls.key", "--tls-ca-cert-file", "ca.crt")
        paths = [str(folder / part) if "." in part else part for part in files]
        # The wheels' Valkey is built without TLS.
        self.server = RELEASES["redis-7.4"].start("--tls-port", str(self.tls_port), *paths, *arguments)

    def settings(self, **more: object) -> ConnectionSettings:
        """Return the settings of a TLS connection to the server."""
        string = f"127.0.0.1:{self.tls_port},ssl=True"
        return ConnectionSettings.model_validate({"connection_string": string, **more})
