"""A watch of a real server during a test."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from listeners.connections.strings import parse_connection_string
from listeners.errors import SourceError
from listeners.redis.client import Client
from listeners.tracking.armed import Armed
from listeners.tracking.watch import Watch
from tests.support.waiting import eventually

__all__ = ["Watching", "watching"]


@dataclass
class Watching:
    """A watch, its client, and how often it found that a change was not reported."""

    client: Client
    watch: Watch
    untold: list[None] = field(default_factory=list)

    async def armed(self, *keys: str) -> Armed:
        """Arm keys as soon as the server is connected."""

        async def arm() -> Armed | None:
            [found] = await self.watch.arm([keys])
            return found

        found = await eventually(arm)
        assert isinstance(found, Armed)
        return found

    async def relied_on(self, *keys: str) -> Armed:
        """Arm keys at a server that has proved itself."""

        async def arm() -> Armed | None:
            [found] = await self.watch.arm([keys])
            if found is not None and found.proved_at is not None:
                return found
            with contextlib.suppress(SourceError):  # as every reader does, which finds out where the key is
                await self.client.command(keys[0], "LLEN", keys[0], doing="reading")
            return None

        found = await eventually(arm)
        assert isinstance(found, Armed)
        return found


@contextlib.asynccontextmanager
async def watching(address: str) -> AsyncIterator[Watching]:
    """Watch the Redis at an address during the block."""
    client = Client(parse_connection_string(address), "test")
    untold: list[None] = []
    found = Watching(client, Watch(client, address, lambda: untold.append(None)), untold)
    try:
        await client.server()
        yield found
    finally:
        await found.watch.close()
        await client.aclose()
