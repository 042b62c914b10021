"""What the processes of an app write, line by line, with the name of the instance."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Literal

from listeners.runtime.logs import LogFormat, as_json_line
from listeners.text import escape

__all__ = ["ChildOutput"]

CHUNK_BYTES = 65_536
#: A longer line is written in pieces.
MAX_LINE_BYTES = 1_048_576
#: How long the output may be read after the last process has exited: a process of its own may still hold it.
LAST_LINES_SECONDS = 1.0
Stream = Literal["stdout", "stderr"]


class ChildOutput:
    """Writes the lines of processes to the same streams of this process, which a live display may have replaced.

    As text, every line begins with the instance's name. As JSON, every line is an object with it.
    """

    def __init__(self, log_format: LogFormat) -> None:
        self._log_format = log_format
        self._readers: set[asyncio.Task[None]] = set()

    def follow(self, name: str, process: asyncio.subprocess.Process) -> None:
        """Write what a process writes to its pipes, until it closes them."""
        if process.stdout is None or process.stderr is None:
            raise ValueError(f"{name} has no pipes")
        self._start(name, process.stdout, "stdout")
        self._start(name, process.stderr, "stderr")

    async def finish(self) -> None:
        """Write the last lines of processes that have exited."""
        if self._readers:
            await asyncio.wait(self._readers, timeout=LAST_LINES_SECONDS)
        for reader in self._readers:
            reader.cancel()

    def _start(self, name: str, pipe: asyncio.StreamReader, stream: Stream) -> None:
        reader = asyncio.create_task(self._follow(name, pipe, stream))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)

    async def _follow(self, name: str, pipe: asyncio.StreamReader, stream: Stream) -> None:
        async for line in _lines(pipe):
            text = line.decode(errors="backslashreplace")
            as_json = self._log_format is LogFormat.JSON
            _write(stream, _as_json(name, text, stream) if as_json else f"{name} | {escape(text)}")


async def _lines(pipe: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines that arrive, without their ends. The pipe's own readline() fails at a long one."""
    rest = b""
    while chunk := await pipe.read(CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
        if len(rest) > MAX_LINE_BYTES:
            yield rest
            rest = b""
    if rest:
        yield rest


def _as_json(name: str, text: str, stream: Stream) -> str:
    record = _json_object(text)
    if record is None:  # not from a logger
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        record = {"time": time, "level": "INFO", "logger": stream, "message": text}
    return as_json_line({"instance": name, **record})


def _json_object(text: str) -> dict[str, object] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _write(stream: Stream, line: str) -> None:
    """Write a line. If nothing reads it any more, the processes go on."""
    target = sys.stdout if stream == "stdout" else sys.stderr
    encoding = target.encoding or "ascii"
    with contextlib.suppress(OSError, ValueError):
        target.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        target.flush()
