"""A TCP proxy between clients and a server that injects network faults."""

import asyncio
import contextlib
import random
import socket
import struct
from enum import StrEnum

from tests.support.waiting import eventually

__all__ = ["NetworkFault", "Proxy"]

CHUNK_BYTES = 65_536


class NetworkFault(StrEnum):
    """A fault of one connection. All but RESET take effect at the next request or reply."""

    RESET = "immediate reset"
    REQUEST_LOST = "requests lost, connection stays open"
    REPLY_LOST = "executed, replies lost, connection stays open"
    CUT_AFTER_EXECUTION = "executed, cut before the reply"
    CUT_IN_REPLY = "cut in the middle of a reply"


class Proxy:
    """Listens on `port`, once started, and forwards all traffic to a port of this machine.

    `delay_seconds` is how long each chunk is delayed, in both directions.
    """

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0
        self.delay_seconds = 0.0
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def inject(self, fault: NetworkFault, share: float, rng: random.Random) -> int:
        """Inject a fault into about this share of the connections, at least one; return their number."""
        links = sorted(self._links, key=lambda link: link.number)
        chosen = [link for link in links if rng.random() < share] or links[:1]
        for link in chosen:
            link.inject(fault)
        return len(chosen)

    async def stop(self) -> None:
        """Stop listening and reset every connection."""
        if self._server is not None:
            self._server.close()
        for link in self._links:
            link.cut()
        await eventually(lambda: not self._links)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, reader, writer, *upstream)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """A client's connection and the matching connection to the server."""

    _count = 0

    def __init__(
        self,
        proxy: Proxy,
        client_reader: asyncio.StreamReader,
        client_writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        _Link._count += 1
        self.number = _Link._count
        self._proxy = proxy
        self._client = (client_reader, client_writer)
        self._server = (server_reader, server_writer)
        self._fault: NetworkFault | None = None

    async def run(self) -> None:
        """Forward traffic until one side closes."""
        directions = [asyncio.create_task(self._requests()), asyncio.create_task(self._replies())]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            self.cut()

    def inject(self, fault: NetworkFault) -> None:
        """Inject a fault into this connection."""
        if fault is NetworkFault.RESET:
            self.cut()
        self._fault = fault

    def cut(self) -> None:
        """Reset both sides."""
        for _, writer in (self._client, self._server):
            with contextlib.suppress(OSError, AttributeError):  # it may be closed already
                no_linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
            writer.transport.abort()

    async def _requests(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self._client[0].read(CHUNK_BYTES):
                await asyncio.sleep(self._proxy.delay_seconds)
                if self._fault is not NetworkFault.REQUEST_LOST:
                    self._server[1].write(chunk)
                    await self._server[1].drain()

    async def _replies(self) -> None:
        with contextlib.suppress(OSError):
            while chunk := await self._server[0].read(CHUNK_BYTES):
                await asyncio.sleep(self._proxy.delay_seconds)
                if self._fault is NetworkFault.CUT_AFTER_EXECUTION:
                    return
                if self._fault is NetworkFault.CUT_IN_REPLY:
                    self._client[1].write(chunk[: len(chunk) // 2])
                    await self._client[1].drain()
                    return
                if self._fault not in (NetworkFault.REPLY_LOST, NetworkFault.REQUEST_LOST):
                    self._client[1].write(chunk)
                    await self._client[1].drain()
