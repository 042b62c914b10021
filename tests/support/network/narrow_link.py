"""A link to a server on which large replies never arrive."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

__all__ = ["NarrowLink", "narrow_link"]


@dataclass(frozen=True)
class NarrowLink:
    """The end of the link to connect to."""

    address: str


@contextlib.asynccontextmanager
async def narrow_link(port: int, max_reply_bytes: int) -> AsyncIterator[NarrowLink]:
    """Forward a new port to `port` during the block. A connection with a larger reply gets nothing more."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        received = 0

        async def send() -> None:
            nonlocal received
            while data := await reader.read(65_536):
                received = 0
                server_writer.write(data)
            server_writer.close()

        async def receive() -> None:
            nonlocal received
            while data := await server_reader.read(65_536):
                received += len(data)
                if received <= max_reply_bytes:
                    writer.write(data)
            writer.close()

        with contextlib.suppress(OSError):
            await asyncio.gather(send(), receive())

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield NarrowLink(f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    finally:
        proxy.close()
