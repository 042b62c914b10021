"""A link to a server that a test cuts in the middle of what the server sends."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass

from listeners.redis.client import Client
from tests.support.network.forwarding import forwarding
from tests.support.waiting import eventually

__all__ = ["CuttingLink", "cutting_link"]


@dataclass
class CuttingLink:
    """The end of the link to connect to. `bytes_left`: how many bytes of replies pass before the link is cut once."""

    address: str = ""
    bytes_left: float = math.inf
    #: What was sent to the server over the connection that sent last, since `bytes_left` was set.
    sent: bytes = b""
    #: Whether what is sent disappears, rather than to reach the server.
    swallows: bool = False

    async def cut_after(self, number: int, client: Client) -> None:
        """Cut the link once the server has sent this many bytes, and pass on everything from then on.

        Only answers to what `client` sends after this count: those to its cancelled commands, and to the handshake of
        a second connection, arrive before.
        """
        shared = client._shared
        await eventually(
            lambda: not shared._opening and all(not each.calls for some in shared._pipelines.values() for each in some)
        )
        self.bytes_left, self.sent = number, b""

    async def replies(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        """Pass on what the server sends until the link is cut."""
        while data := await source.read(65_536):
            if len(data) > self.bytes_left:
                to.write(data[: int(self.bytes_left)])
                self.bytes_left = math.inf
                return
            self.bytes_left -= len(data)
            to.write(data)

    async def requests(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        """Pass on what is sent to the server, unless the link swallows it: then the connection ends."""
        while data := await source.read(65_536):
            self.sent += data
            if self.swallows:
                return
            to.write(data)


@contextlib.asynccontextmanager
async def cutting_link(port: int) -> AsyncIterator[CuttingLink]:
    """Forward a new port to `port` during the block."""
    link = CuttingLink()
    async with forwarding(port, replies=link.replies, requests=link.requests) as link.address:
        yield link
