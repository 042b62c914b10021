"""Keys that a check makes: they are removed afterwards, and expire if that fails."""

import contextlib
from collections.abc import AsyncIterator, Iterable

from listeners.errors import SourceError
from listeners.redis.client import Client

__all__ = ["LIFE_MS", "expiry", "removed"]

#: How long the keys live if they are not removed, in ms: longer than a trial takes.
LIFE_MS = 60_000


def expiry(key: str) -> tuple[str, str, int]:
    """Return the command that lets a key expire."""
    return ("PEXPIRE", key, LIFE_MS)


@contextlib.asynccontextmanager
async def removed(client: Client, keys: Iterable[str]) -> AsyncIterator[None]:
    """Remove keys after the block, however it ends."""
    try:
        yield
    finally:
        for key in keys:
            with contextlib.suppress(SourceError):  # it expires
                await client.command(key, "DEL", key, doing=f"removing {key!r}")
