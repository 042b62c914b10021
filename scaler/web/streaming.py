"""Long answers, written in slices: whoever else waits for the event loop gets it in between."""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping

from aiohttp import web

__all__ = ["on_a_thread", "sliced", "stream"]

#: What is made and sent at one time: of so many characters, or in so long.
PART_CHARACTERS = 60_000
SLICE_SECONDS = 0.002
#: How long a client may take to read it all.
READ_SECONDS = 60.0


async def stream(
    request: web.Request, content_type: str, parts: AsyncIterable[bytes], headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Answer with the joined parts, which are made while they are sent. A client that is too slow is cut off."""
    response = web.StreamResponse(headers={**(headers or {}), "Content-Type": content_type})
    try:
        async with asyncio.timeout(READ_SECONDS):
            await response.prepare(request)
            async for part in parts:
                await response.write(part)
            await response.write_eof()
    except ConnectionError:
        pass  # the client went away
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response


async def sliced(pieces: Iterable[str]) -> AsyncIterator[bytes]:
    """Text that is made here, a slice at a time."""
    for part in _slices(pieces):
        yield part.encode()
        await asyncio.sleep(0)


async def on_a_thread(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Parts that take long to make, made one by one on a thread."""
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
