"""Makes long responses in slices, so that other tasks can use the event loop in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator

__all__ = ["on_a_thread", "sliced"]

#: A slice ends when it has this many characters, or has taken this long to make.
PART_CHARACTERS = 60_000
SLICE_SECONDS = 0.002


async def sliced(pieces: Iterable[str]) -> AsyncIterator[bytes]:
    """Make text on the event loop, a slice at a time."""
    for part in _slices(pieces):
        yield part.encode(errors="replace")
        await asyncio.sleep(0)


async def on_a_thread(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Make parts that take long on a thread, one by one."""
    while (part := await asyncio.to_thread(next, parts, None)) is not None:
        yield part


def _slices(pieces: Iterable[str]) -> Iterator[str]:
    part: list[str] = []
    characters, until = 0, time.monotonic() + SLICE_SECONDS
    for piece in pieces:
        part.append(piece)
        characters += len(piece)
        if characters >= PART_CHARACTERS or time.monotonic() > until:
            yield "".join(part)
            part.clear()
            characters, until = 0, time.monotonic() + SLICE_SECONDS
    yield "".join(part)
