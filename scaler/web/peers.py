"""Asks the other scalers which triggers they track: KEDA calls one scaler for each trigger, and people look at any.

They are asked at the moment of a question, and nothing is stored.
"""

import asyncio
import itertools
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import aiohttp

from scaler.evaluation.evaluator import MAX_TRACKED, TrackedTrigger
from scaler.monitoring.peer_trigger import PeerTrigger

__all__ = ["IDENTITY_HEADER", "PEER_PATH", "Answers", "Peers", "own_lines"]

#: Where a scaler lists its own triggers for the others, one on each line.
PEER_PATH = "/api/v1/peer"
#: Names the scaler that answers, or the one that asks. Its random identity changes with each start.
IDENTITY_HEADER = "Triggerfish-Scaler"
#: How long the other scalers have to answer. They are asked concurrently.
ANSWER_SECONDS = 1.0
MAX_PEERS = 20
#: A line longer than this is not a trigger.
MAX_LINE_BYTES = 256 * 1024
#: While lines are read, other tasks get a turn this often.
SLICE_SECONDS = 0.002


@dataclass(frozen=True)
class Answers:
    """The triggers that the other scalers track, and a sentence for each one that did not answer."""

    triggers: Sequence[TrackedTrigger] = ()
    problems: Sequence[str] = ()

    def with_own(self, own: Iterable[TrackedTrigger]) -> Iterator[TrackedTrigger]:
        """Iterate over all triggers in a stable order, each as the scaler knows it that KEDA asked last."""
        if not self.triggers:
            return iter(own)
        everything = sorted([*own, *self.triggers], key=lambda one: (*_identity(one), -one.requested_at))
        return (next(same) for _, same in itertools.groupby(everything, _identity))


class Peers:
    """All scalers at `address` (host:port), whose host has one address for each of them. None: there are no others."""

    def __init__(self, address: str | None) -> None:
        self.identity = secrets.token_hex(8)
        self._address = address
        self._asking: asyncio.Task[Answers] | None = None
        #: A resolver that hangs holds up only this.
        self._resolver = ThreadPoolExecutor(1, thread_name_prefix="peers")

    async def ask(self) -> Answers:
        """Return what the others track. Concurrent questions share one round."""
        if self._address is None:
            return Answers()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(self._address))
        return await asyncio.shield(self._asking)

    async def find(self, path: str) -> tuple[int, bytes] | None:
        """Return the status and the body of the first answer of a scaler that knows the trigger at a path below /api/.

        None: no scaler knows it. If one of them did not answer, that is not known: the status is 503.
        """
        if self._address is None:
            return None
        urls, problems, seconds = await self._urls(self._address)
        async with self._session() as session:
            asked = [asyncio.create_task(_find_at(session, url, path, seconds)) for url in urls]
            try:
                for answer in asyncio.as_completed(asked):
                    found = await answer
                    if isinstance(found, str):
                        problems.append(found)
                    elif found is not None:
                        return found
            finally:
                for task in asked:
                    task.cancel()
                await asyncio.gather(*asked, return_exceptions=True)
        return (503, json.dumps({"error": " ".join(problems)}).encode()) if problems else None

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._resolver.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, address: str) -> Answers:
        urls, problems, seconds = await self._urls(address)
        triggers: list[TrackedTrigger] = []
        async with self._session() as session:
            asked = await asyncio.gather(*(self._ask_one(session, url, seconds, triggers) for url in urls))
        problems += [
            f"{problem} Triggers that KEDA asks only there are missing or old here." for problem in asked if problem
        ]
        if len(triggers) >= MAX_TRACKED:
            problems.append(f"The other scalers track more than {MAX_TRACKED} triggers. Some are missing here.")
        return Answers(triggers, problems)

    async def _ask_one(
        self, session: aiohttp.ClientSession, url: str, seconds: float, triggers: list[TrackedTrigger]
    ) -> str | None:
        """Add a scaler's triggers to `triggers`, up to MAX_TRACKED in all. Return what went wrong, if anything did."""
        try:
            async with asyncio.timeout(seconds), session.get(f"{url}{PEER_PATH}") as response:
                if response.headers.get(IDENTITY_HEADER) == self.identity:
                    return None
                response.raise_for_status()
                async for line in _lines(response.content):
                    if len(triggers) >= MAX_TRACKED:
                        break
                    triggers.append(PeerTrigger.model_validate_json(line).tracked())
                return None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _problem(url, error)

    async def _urls(self, address: str) -> tuple[list[str], list[str], float]:
        """Return the base URL of each scaler, this one included, what went wrong, and the seconds left to ask them."""
        began = time.monotonic()
        host, _, port = address.rpartition(":")
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await loop.run_in_executor(self._resolver, _resolve, host.strip("[]"), int(port))
        except (OSError, ValueError) as error:
            reason = "no answer in time" if isinstance(error, TimeoutError) else error
            return [], [f"The other scalers are unknown: {address} does not resolve ({reason})."], 0
        urls = [f"http://{f'[{ip}]' if ':' in ip else ip}:{port}" for ip in found[:MAX_PEERS]]
        return urls, [], max(ANSWER_SECONDS - (time.monotonic() - began), 0)

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers={IDENTITY_HEADER: self.identity}, read_bufsize=MAX_LINE_BYTES)


async def _find_at(
    session: aiohttp.ClientSession, url: str, path: str, seconds: float
) -> tuple[int, bytes] | str | None:
    """Return what a scaler answers about a trigger, None if it does not know it, or what went wrong."""
    try:
        async with asyncio.timeout(seconds), session.get(f"{url}{path}") as response:
            known = response.status != 404
            return (response.status, await response.content.read(MAX_LINE_BYTES)) if known else None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return _problem(url, error)


def _problem(url: str, error: Exception) -> str:
    """Return a sentence about a scaler that did not answer."""
    if isinstance(error, TimeoutError):
        problem = f"did not answer within {ANSWER_SECONDS:g} s"
    elif isinstance(error, aiohttp.ClientError | OSError):
        problem = f"cannot be asked ({error})"
    else:
        problem = "sent an answer that cannot be read, perhaps of another version"
    return f"The scaler at {url.removeprefix('http://')} {problem}."


def own_lines(tracked: Iterable[TrackedTrigger]) -> Iterator[str]:
    """Yield this scaler's triggers as lines for the others."""
    return (PeerTrigger.of(one).as_line().decode() for one in tracked)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Read lines. Lines that have arrived already are read without a pause, so others get a turn in between."""
    until = time.monotonic() + SLICE_SECONDS
    async for line in content:
        yield line
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + SLICE_SECONDS


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(address[0]) for *_, address in found})


def _identity(tracked: TrackedTrigger) -> tuple[str, str, str, bool]:
    owner = tracked.owner
    return owner.namespace, owner.name, tracked.scaled.metric_name, owner.declared
