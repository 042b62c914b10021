"""Writes long responses in slices, so that other tasks can use the event loop in between."""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping

from aiohttp import web

__all__ = ["on_a_thread", "sliced", "stream"]

#: A slice ends when it has this many characters, or has taken this long to make.
PART_CHARACTERS = 60_000
SLICE_SECONDS = 0.002
#: How long a client may take to read the whole response.
READ_SECONDS = 60.0


async def stream(
    request: web.Request, content_type: str, parts: AsyncIterable[bytes], headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Respond with all parts, which are made as they are sent. A client that reads too slowly is disconnected."""
    response = web.StreamResponse(headers={**(headers or {}), "Content-Type": content_type})
    try:
        async with asyncio.timeout(READ_SECONDS):
            await response.prepare(request)
            async for part in parts:
                await response.write(part)
            await response.write_eof()
    except ConnectionError:
        pass  # the client disconnected
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response


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
