"""A link to a server, whose ways a test chooses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["Way", "forwarding", "pass_on"]

#: Passes on what one side of a connection sends, until it ends.
Way = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def pass_on(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    """Pass on everything."""
    while data := await source.read(65_536):
        to.write(data)


@contextlib.asynccontextmanager
async def forwarding(port: int, *, replies: Way, requests: Way = pass_on) -> AsyncIterator[str]:
    """Forward a new port to `port` during the block, and yield its address. When one way ends, so does the other."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        ways = [
            asyncio.ensure_future(requests(reader, server_writer)),
            asyncio.ensure_future(replies(server_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            server_writer.close()

    link = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{link.sockets[0].getsockname()[1]}"
    finally:
        link.close()
