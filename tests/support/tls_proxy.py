"""A door with TLS before a port."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

__all__ = ["tls_door"]


@contextlib.asynccontextmanager
async def tls_door(port: int, folder: Path, clients: Path | None = None) -> AsyncIterator[int]:
    """A port that speaks TLS and HTTP/2 with the certificate in `folder`, and leads to `port`; the authority in the
    file `clients` must have signed the client's certificate.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.set_alpn_protocols(["h2"])
    if clients is not None:
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
