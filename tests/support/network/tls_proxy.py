"""A TLS proxy for a port."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

__all__ = ["tls_proxy"]


@contextlib.asynccontextmanager
async def tls_proxy(port: int, folder: Path, clients: Path | None = None) -> AsyncIterator[int]:
    """Forward a new port, with TLS and HTTP/2 and the certificate in `folder`, to `port` during the block.

    With `clients`, client certificates are required and must be signed by the authority in this file.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=clients)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.set_alpn_protocols(["h2"])
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context)
    try:
        yield proxy.sockets[0].getsockname()[1]
    finally:
        proxy.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
