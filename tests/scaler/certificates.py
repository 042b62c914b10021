"""Certificates for a test, and a door with TLS before a port."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.programs import program

__all__ = ["Authority", "Certificate", "tls_door"]

OPENSSL_SECONDS = 30


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; its own is `file`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self.file = folder / f"{name}.pem"
        self._openssl("req", "-x509", "-out", self.file, *self._new(name))

    def sign(self, host: str) -> Certificate:
        """A certificate for a host name."""
        made = Certificate(self._folder / f"{host}.pem", self._folder / f"{host}.key")
        by = ("-CA", self.file, "-CAkey", self._folder / f"{self._name}.key")
        self._openssl(
            "req", "-x509", "-out", made.certificate, *by, "-addext", f"subjectAltName=DNS:{host}", *self._new(host)
        )
        return made

    def _new(self, name: str) -> tuple[str | Path, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        return (*curve, "-days", "2", "-subj", f"/CN={name}", "-keyout", self._folder / f"{name}.key")

    def _openssl(self, *arguments: str | Path) -> None:
        command = [program("openssl"), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=OPENSSL_SECONDS)


@contextlib.asynccontextmanager
async def tls_door(port: int, server: Certificate, clients: Authority | None = None) -> AsyncIterator[int]:
    """A port that speaks TLS and HTTP/2 and leads to `port`; `clients` must have signed the client's certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients.file if clients else None)
    context.load_cert_chain(server.certificate, server.key)
    context.set_alpn_protocols(["h2"])
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pour(reader, inner_writer), _pour(inner_reader, writer))

    door = await asyncio.start_server(lead, "127.0.0.1", 0, ssl=context)
    try:
        yield door.sockets[0].getsockname()[1]
    finally:
        door.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
