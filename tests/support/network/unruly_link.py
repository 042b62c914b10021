"""A link to a server whose connections a test cuts, holds back and floods, those with client tracking apart."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

__all__ = ["UnrulyLink", "unruly_link"]

TRACKING_ON = b"$8\r\nTRACKING\r\n$2\r\nON\r\n"
TRACKING_OFF = b"$8\r\nTRACKING\r\n$3\r\nOFF\r\n"


@dataclass
class _Connection:
    writer: asyncio.StreamWriter
    server: asyncio.StreamWriter
    tracking: bool = False


@dataclass
class UnrulyLink:
    """The end of the link to connect to. `silent`: tracking is accepted and not turned on."""

    address: str = ""
    silent: bool = False
    connections: list[_Connection] = field(default_factory=list)
    #: Whether replies pass, of connections with tracking and of the others.
    open: dict[bool, asyncio.Event] = field(default_factory=lambda: {True: asyncio.Event(), False: asyncio.Event()})

    def hold(self, *, tracking: bool) -> None:
        """Let no reply pass from now on."""
        self.open[tracking].clear()

    def release(self, *, tracking: bool) -> None:
        """Let replies pass again, those that were held back first."""
        self.open[tracking].set()

    def cut(self, *, tracking: bool) -> None:
        """Close the connections."""
        for one in self._these(tracking):
            one.writer.transport.abort()
            one.server.transport.abort()

    def send(self, data: bytes, *, tracking: bool) -> int:
        """Send data that the server did not send. Return over how many connections."""
        these = self._these(tracking)
        for one in these:
            one.writer.write(data)
        return len(these)

    def _these(self, tracking: bool) -> list[_Connection]:
        return [one for one in self.connections if one.tracking == tracking]


@contextlib.asynccontextmanager
async def unruly_link(port: int, *, silent: bool = False) -> AsyncIterator[UnrulyLink]:
    """Forward a new port to `port` during the block."""
    link = UnrulyLink(silent=silent)
    for opened in link.open.values():
        opened.set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        one = _Connection(writer, server_writer)
        link.connections.append(one)

        async def send() -> None:
            while data := await reader.read(65_536):
                one.tracking = one.tracking or TRACKING_ON in data
                server_writer.write(data.replace(TRACKING_ON, TRACKING_OFF) if link.silent else data)
            server_writer.close()

        async def receive() -> None:
            while data := await server_reader.read(65_536):
                await link.open[one.tracking].wait()
                writer.write(data)
            writer.close()

        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(send(), receive())
        finally:
            link.connections.remove(one)
            writer.transport.abort()
            server_writer.transport.abort()

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    link.address = f"127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    try:
        yield link
    finally:
        proxy.close()
        for one in list(link.connections):
            one.writer.transport.abort()
            one.server.transport.abort()
        for opened in link.open.values():
            opened.set()
