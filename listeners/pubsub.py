"""Reads pub/sub triggers: subscribes while it holds the lease, and hands messages over through a bounded queue."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio.client import PubSub

from listeners.client import Client
from listeners.connection import ConnectionSpec
from listeners.errors import AccessDeniedError, CommandRefusedError, SourceError, SourceTimeoutError
from listeners.keyspace import missing_flags
from listeners.lease import Lease, boot_seconds, is_lease_key, lease_key
from listeners.messages import Entry, Settlement, text
from listeners.supervisor import cancel_until_done, raise_if_cancelled
from listeners.translation import translated
from listeners.triggers import PubSubTrigger, is_keyspace_channel

__all__ = ["QUEUE_SIZE", "PubSubSource"]

#: Messages that wait for the function; more are dropped, and counted.
QUEUE_SIZE = 10_000
#: How often an instance that stands by tries to become the holder.
STANDBY_SECONDS = 0.5
#: The holder renews this often within one lease time.
RENEWALS_PER_LEASE = 10 / 3
#: A subscription that is silent for so long, its pings included, is taken for dead.
SILENCE_SECONDS = 10.0
MAX_WAIT_SECONDS = 1.0


class PubSubSource:
    """The channel of one trigger.

    `instance` names this process in the lease, `lease_seconds` is the lease's time to live. `on_drop` is told how many
    messages were dropped.
    """

    def __init__(
        self,
        trigger: PubSubTrigger,
        app: str,
        function: str,
        spec: ConnectionSpec,
        *,
        client_name: str,
        instance: str,
        lease_seconds: float,
        on_drop: Callable[[int], object],
        on_lease: Callable[[bool], object],
    ) -> None:
        self._trigger = trigger
        self._client = Client(spec, client_name)
        self._pause_seconds = lease_seconds / RENEWALS_PER_LEASE
        self._lease = (
            Lease(self._client, lease_key(app, function), instance, lease_seconds) if trigger.singleton else None
        )
        self._on_drop = on_drop
        self._on_lease = on_lease
        self._subscription: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None
        self._heard_at = 0.0
        self._queue: deque[Entry] = deque()
        self._arrived = asyncio.Event()
        self._holder = False
        self._stopped = False

    async def open(self) -> None:
        """Nothing to prepare: attend() subscribes when it holds the lease."""

    async def describe(self) -> str:
        server = await self._client.server()
        command = "PSUBSCRIBE" if self._trigger.is_pattern else "SUBSCRIBE"
        once = "in one instance, by a lease" if self._lease else "in every instance"
        warning = await self._keyspace_warning() if is_keyspace_channel(self._trigger.channel) else ""
        return f"{server}, {command} {self._trigger.channel}, {once}{warning}"

    async def attend(self) -> None:
        """Acquire or renew the lease, subscribe while it is held, and see that the subscription is alive."""
        if self._stopped and not self._holder:
            await asyncio.sleep(STANDBY_SECONDS)
            return
        holder = self._holder = await self._lease.acquire() if self._lease else True
        self._on_lease(holder)
        if holder and not self._stopped and (self._reader is None or self._reader.done()):
            await self._subscribe()
        elif not holder and self._reader is not None:
            await self._unsubscribe()
            self._drop_queue()
        if holder:
            await self._check_alive()
        await self._pause(self._pause_seconds if holder else STANDBY_SECONDS)

    async def take(self, count: int) -> list[Entry]:
        """Messages from the queue, if the lease is held: no call may start after its end."""
        if not self._queue:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(MAX_WAIT_SECONDS):
                    await self._arrived.wait()
        entries = self._queued(count)
        if self._lease and not self._lease.held and entries:
            self._on_drop(len(entries))
            return []
        return entries

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Nothing: Redis keeps no message."""

    async def renew(self, entries: Sequence[Entry]) -> None:
        """Nothing: a message has no lease of its own."""

    def interrupt(self) -> None:
        """Subscribe no more; the lease is kept until what has come is handled."""
        self._stopped = True
        self._arrived.set()

    async def stop(self) -> list[Entry]:
        """Unsubscribe, and return what has come so far: no other instance will get it."""
        await self._unsubscribe()
        if self._lease and not self._lease.held:
            self._drop_queue()
        return self._queued(QUEUE_SIZE)

    async def hand_back(self, entries: Sequence[Entry]) -> None:
        """Nothing can be handed back: the messages are lost, and counted as dropped."""
        if entries:
            self._on_drop(len(entries))

    async def close(self) -> None:
        await self._unsubscribe()
        if self._lease:
            with contextlib.suppress(SourceError):  # it ends by itself
                await self._lease.release()
            self._on_lease(False)
        await self._client.aclose()

    async def _subscribe(self) -> None:
        await self._unsubscribe()
        subscription = await self._client.subscription(self._trigger.channel)
        with translated(f"subscribing to {self._trigger.channel!r}"):
            if self._trigger.is_pattern:
                await subscription.psubscribe(self._trigger.channel)
            else:
                await subscription.subscribe(self._trigger.channel)
        self._subscription = subscription
        self._heard_at = boot_seconds()
        self._reader = asyncio.create_task(self._read(subscription), name=f"subscription to {self._trigger.channel}")

    async def _unsubscribe(self) -> None:
        """Close the subscription's connection, which ends it at once."""
        reader, self._reader = self._reader, None
        subscription, self._subscription = self._subscription, None
        if reader is not None:
            await cancel_until_done([reader], MAX_WAIT_SECONDS)
        if subscription is not None:
            with contextlib.suppress(SourceError), translated("unsubscribing"):
                await subscription.aclose()

    async def _read(self, subscription: PubSub) -> None:
        """Move messages into the queue. Ends with an error when the connection is lost: attend() subscribes again."""
        while True:
            with translated(f"listening to {self._trigger.channel!r}"):
                message = await subscription.get_message(timeout=MAX_WAIT_SECONDS)
            raise_if_cancelled()
            if message is None:
                continue
            self._heard_at = boot_seconds()
            if message["type"] in ("message", "pmessage") and not _is_about_a_lease(message):
                self._offer(message)

    def _offer(self, message: dict[str, Any]) -> None:
        entry = Entry(
            text(message["channel"]),
            payload=message["data"],
            pattern=text(message["pattern"]) if message["pattern"] is not None else None,
            epoch=self._lease.epoch if self._lease else None,
        )
        if len(self._queue) >= QUEUE_SIZE:
            self._on_drop(1)
            return
        self._queue.append(entry)
        self._arrived.set()

    def _queued(self, count: int) -> list[Entry]:
        return [self._queue.popleft() for _ in range(min(count, len(self._queue)))]

    def _drop_queue(self) -> None:
        if self._queue:
            self._on_drop(len(self._queue))
            self._queue.clear()

    async def _check_alive(self) -> None:
        if self._subscription is None:
            return
        if boot_seconds() - self._heard_at > max(SILENCE_SECONDS, 2 * self._pause_seconds):
            await self._unsubscribe()
            raise SourceTimeoutError(f"the subscription to {self._trigger.channel!r} went silent")
        with translated("checking the subscription"):
            await self._subscription.ping()

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than the subscription lives."""
        if self._reader is None:
            await asyncio.sleep(seconds)
            return
        await asyncio.wait([self._reader], timeout=seconds)
        if self._reader is not None and self._reader.done() and not self._reader.cancelled():
            self._reader.result()

    async def _keyspace_warning(self) -> str:
        try:
            answer = await self._client.command(
                None, "CONFIG", "GET", "notify-keyspace-events", doing="CONFIG GET notify-keyspace-events"
            )
        except (AccessDeniedError, CommandRefusedError):
            return "; the server does not say whether it publishes these notifications (CONFIG GET is denied)"
        configured = text(answer[1]) if answer else ""
        missing = missing_flags(self._trigger.channel, configured)
        if not missing:
            return ""
        return (
            "; WARNING: the server does not publish these notifications, so no message will come. Turn them on: "
            f"CONFIG SET notify-keyspace-events {configured}{missing}"
        )


def _is_about_a_lease(message: dict[str, Any]) -> bool:
    """Whether a notification tells of a lease: functions ask for what others do, not for our own renewals."""
    channel = text(message["channel"])
    if channel.startswith("__keyevent@"):
        return is_lease_key(text(message["data"]))
    return channel.startswith("__keyspace@") and is_lease_key(channel.partition("__:")[2])
