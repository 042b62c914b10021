"""One server that reports changes, and the proof each second that it does."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from listeners.connections.spec import Endpoint
from listeners.errors import CommandRefusedError, SourceError, SourceUnavailableError
from listeners.keys import SLOTS, key_slot
from listeners.redis.client import Client
from listeners.redis.error_translation import translate, translated
from listeners.text import decode
from listeners.tracking.connection import WatchConnection

__all__ = ["Node"]

#: How often a server is to prove that it has reported everything.
PROVE_SECONDS = 1.0
#: A server that takes longer for a proof is disconnected. One that takes longer for a read is not waited for.
ANSWER_SECONDS = 5.0
ARM_SECONDS = 0.3
#: The oldest proof that is relied on.
MAX_PROOF_AGE_SECONDS = 3.0
#: HELLO reports the role, needs no permission, and is answered in order, like a PING.
HELLO = ("HELLO", "3")
CLUSTER_NODES = ("CLUSTER", "NODES")


class Node:
    """A server without a cluster (`endpoint` is None), the primary behind Sentinels, or a primary of a cluster.

    `on_change` is called with it and with each key that changed, or None for all keys; `on_end` when it ends, with the
    error; `on_moved` when some of its slots are moving or have moved.
    """

    def __init__(
        self,
        client: Client,
        endpoint: Endpoint | None,
        *,
        on_change: Callable[["Node", str | None], object],
        on_moved: Callable[[], object],
        on_end: Callable[["Node"], object],
    ) -> None:
        self.endpoint = endpoint
        self._client = client
        self._on_moved = on_moved
        self._on_end = on_end
        self._connection = WatchConnection(
            client.watch_connection(endpoint),
            ANSWER_SECONDS,
            lambda key: on_change(self, key),
            self._connection_ended,
        )
        self._ended = asyncio.Event()
        self._error: SourceError | None = None
        self._role: object = None
        self._slots_text = ""
        self._slots: set[int] = set()
        self._proved_at: float | None = None
        #: Whether it has reported a change, and whether it is being given one to report.
        self.told = self.probed = False

    @property
    def proved_at(self) -> float | None:
        """Every change before this time was reported. None if no change was ever reported, or the last proof is old."""
        if not self.told or self._proved_at is None or self._error is not None:
            return None
        return self._proved_at if time.monotonic() - self._proved_at < MAX_PROOF_AGE_SECONDS else None

    async def follow(self, on_open: Callable[[], object]) -> None:
        """Connect, call `on_open`, and prove each second, until an error. Raises SourceError."""
        try:
            with translated("connecting with RESP3"):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._connection.open()
            await self.prove()
            on_open()
            while self._error is None:
                try:
                    async with asyncio.timeout(PROVE_SECONDS):
                        await self._ended.wait()
                except TimeoutError:
                    if self._connection.expired:
                        raise SourceUnavailableError("watching keys: the credentials were renewed") from None
                    await self.prove()
            raise self._error
        finally:
            await self._connection.close()

    async def prove(self) -> None:
        """Prove that every change before this call was reported, by the right server. Raises SourceError, and ends."""
        sent_at = time.monotonic()
        commands = [HELLO] if self.endpoint is None else [HELLO, CLUSTER_NODES]
        try:
            with translated("watching keys: asking the server for its role"):
                async with asyncio.timeout(ANSWER_SECONDS):
                    self._check(await self._connection.ask(commands))
                    if not await self._client.is_primary(*self._connection.address):
                        raise SourceUnavailableError("watching keys: the Sentinels report another primary")
        except SourceError as error:
            self._connection.end(error)
            raise
        self._proved_at = max(sent_at, self._proved_at or sent_at)

    async def arm(self, keys: Iterable[str]) -> dict[str, bool]:
        """Read keys, so that their next change is reported. Return whether each exists that could be read.

        Raises SourceError.
        """
        if self._connection.waiting_seconds > ARM_SECONDS:
            raise SourceUnavailableError("watching keys: the server is late")
        own = [key for key in keys if self.has(key)]
        with translated("watching keys"):
            async with asyncio.timeout(ARM_SECONDS):
                replies = await self._connection.ask([("EXISTS", key) for key in own])
        return {key: reply > 0 for key, reply in zip(own, replies, strict=True) if type(reply) is int}

    async def confirm(self, keys: Sequence[str]) -> bool:
        """Prove, and return whether the server still has these keys. Raises SourceError."""
        await self.prove()
        return (await self.arm(keys)).keys() == set(keys)

    def has(self, key: str) -> bool:
        """Return whether the server has the key's slot, and keeps it."""
        return self.endpoint is None or key_slot(key) in self._slots

    def _check(self, replies: Sequence[Any]) -> None:
        """Compare what the server reports of itself with what it reported first."""
        for reply in replies:
            if isinstance(reply, Exception):
                raise translate(reply, "watching keys")
        role = replies[0].get(b"role") if isinstance(replies[0], dict) else None
        if not isinstance(role, bytes):
            raise CommandRefusedError("watching keys: HELLO replied without a role")
        if role != (self._role or role):
            raise SourceUnavailableError(f"watching keys: the server has become a {decode(role)}")
        self._role = role
        if self.endpoint is not None:
            self._take_slots(replies[1])

    def _take_slots(self, nodes: Any) -> None:
        lines = decode(nodes).splitlines() if isinstance(nodes, bytes) else []
        own = next((fields for line in lines if "myself" in (fields := line.split(" "))[2:3][0].split(",")), None)
        if own is None:
            raise CommandRefusedError("watching keys: CLUSTER NODES replied without the node itself")
        if (text := " ".join(own[8:])) != self._slots_text:
            self._slots_text, self._slots = text, _kept_slots(own[8:])
            self._on_moved()

    def _connection_ended(self, error: SourceError) -> None:
        self._error = error
        self._ended.set()
        self._on_end(self)


def _kept_slots(ranges: Iterable[str]) -> set[int]:
    """Return the slots that a node has and that are not moving. Raises CommandRefusedError."""
    kept: set[int] = set()
    moving: set[int] = set()
    for each in ranges:
        first, _, last = each.strip("[]").partition("-")
        if not first.isdigit() or not 0 <= int(first) < SLOTS:
            raise CommandRefusedError(f"watching keys: CLUSTER NODES replied with the slots {each[:40]!r}")
        if each.startswith("["):
            moving.add(int(first))
        else:
            kept.update(range(int(first), min(int(last), SLOTS - 1) + 1 if last.isdigit() else int(first) + 1))
    return kept - moving
