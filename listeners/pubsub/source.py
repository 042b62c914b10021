"""Reads pub/sub triggers: subscribes while it holds the lease, and buffers messages in a bounded queue."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence

from listeners.engine.source import Source
from listeners.errors import AccessDeniedError, CommandRefusedError, SourceError, SourceTimeoutError
from listeners.functions.entries import Entry, Outcome, Settlement
from listeners.functions.triggers import PubSubTrigger
from listeners.keys import is_keyspace_channel
from listeners.leases.handover import Handover, Notice
from listeners.leases.lease import Lease
from listeners.leases.redis_lease import concerns_a_lease
from listeners.pubsub.queue import MessageQueue
from listeners.redis.client import Client
from listeners.redis.cluster_subscription import ClusterSubscription
from listeners.redis.keyspace import keyspace_warning
from listeners.redis.node_subscription import NodeSubscription
from listeners.redis.subscription import Message, Subscription
from listeners.runtime.tasks import wait_for_event
from listeners.text import decode

__all__ = ["QUEUE_SIZE", "PubSubSource"]

#: Messages that may wait for the function; more are dropped and counted.
QUEUE_SIZE = 10_000
#: While more messages than this wait, functions get a turn after each message that is read.
YIELD_ABOVE_LENGTH = 200
#: Renewals by the holder within one lease time.
RENEWALS_PER_LEASE = 10 / 3
#: The longest that take() waits for a message.
MAX_WAIT_SECONDS = 1.0
#: How long a draining holder waits for a standby to take over.
HANDOVER_SECONDS = 0.5
#: How long the marker may take to arrive from Redis.
MARKER_SECONDS = 0.5
#: The longest that stop() may take to pass on or release the lease.
STOP_SECONDS = 1.5


class PubSubSource(Source):
    """Reads the channel or pattern of one trigger.

    Without a `lease` every instance subscribes. With `handover` a draining holder passes the lease to another instance
    without a gap; without it, the holder releases the lease and another instance acquires it soon after.
    `lease_seconds` is the lease's time to live. `on_drop` is called with the number of messages dropped, `on_lease`
    with whether the lease is held.
    """

    def __init__(
        self,
        trigger: PubSubTrigger,
        client: Client,
        *,
        lease: Lease | None,
        handover: Handover | None,
        lease_seconds: float,
        on_drop: Callable[[int], object],
        on_lease: Callable[[bool], object],
    ) -> None:
        self._trigger = trigger
        self._client = client
        self._lease = lease
        self._handover = handover
        self._renew_seconds = lease_seconds / RENEWALS_PER_LEASE
        self._on_lease = on_lease
        self._queue = MessageQueue(QUEUE_SIZE, on_drop)
        self._subscription: Subscription | None = None
        #: Serializes changes of the lease and of the subscription.
        self._change_lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._marker_received = asyncio.Event()
        self._lease_ended = asyncio.Event()
        self._is_holder = False
        self._accepting = False
        self._draining = False
        self._stopped = False
        #: Whether the queued messages belong to this instance alone; stop() decides it.
        self._owns_queue = True
        self._released = False
        self._may_hold_lease = False

    async def open(self) -> None:
        """Detect the kind of server. maintain() subscribes once the lease is held."""
        await self._client.server()
        if self._client.is_cluster:
            self._handover = None  # it needs a single order of everything published

    async def describe(self) -> str:
        server = await self._client.server()
        command = "PSUBSCRIBE" if self._trigger.is_pattern else "SUBSCRIBE"
        once = f"in one instance, with {await self._lease.describe()}" if self._lease else "in every instance"
        warning = await self._keyspace_warning() if is_keyspace_channel(self._trigger.channel) else ""
        return f"{server}, {command} {self._trigger.channel}, {once}{warning}"

    async def maintain(self) -> None:
        """Acquire or renew the lease, stay subscribed while it is held, and check that the subscription is alive."""
        async with self._change_lock:
            if not self._stopped:
                await self._update_role()
        seconds = self._renew_seconds if self._is_holder or not self._lease else self._lease.retry_seconds
        await self._pause(min(seconds, self._subscription.follow_seconds if self._subscription else seconds))

    async def take(self, count: int) -> list[Entry]:
        """Take messages from the queue if the lease is held. No call may start after the lease ends."""
        await self._queue.wait(MAX_WAIT_SECONDS)
        return self._dequeue(count)

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int) -> list[Entry]:
        return self._dequeue(count)

    def _dequeue(self, count: int) -> list[Entry]:
        entries = self._queue.take(count)
        if self._lease and not self._lease.held:
            self._queue.drop(entries)
            return []
        return entries

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Count messages that lapsed without a call as dropped. Redis keeps no messages that could be settled."""
        self._queue.drop(settlement.entry for settlement in settlements if settlement.outcome is Outcome.LAPSED)

    async def renew(self, entries: Sequence[Entry]) -> None:
        """Do nothing: messages have no leases."""

    def may_start(self, entry: Entry) -> bool:
        """Return whether the lease under which the message arrived is still held.

        After stop(), return whether the queued messages belong to this instance alone.
        """
        if self._lease is None or self._stopped:
            return self._owns_queue
        return self._lease.held and self._lease.epoch == entry.epoch

    def stop_waiting(self) -> None:
        """End waits and stop acquiring the lease. A current holder keeps it until stop()."""
        self._draining = True
        self._queue.wake()
        self._wake.set()

    async def stop(self) -> list[Entry]:
        """Pass on or release the lease, unsubscribe, and return the messages so far, which no other instance gets."""
        self._owns_queue = self._lease is None or self._lease.held
        owns_queue: bool | None = None
        with contextlib.suppress(TimeoutError, SourceError):
            async with asyncio.timeout(STOP_SECONDS), self._change_lock:
                self._stopped = True
                if self._lease and self._is_holder:
                    owns_queue = await self._hand_over_or_release(self._lease)
        self._stopped = True
        await self._unsubscribe()
        self._on_lease(False)
        if owns_queue is None:
            # Redis did not answer in time. Until the lease ends, no other instance can have been subscribed.
            owns_queue = self._lease is None or self._lease.held or self._lease_ended.is_set() or self._released
        self._owns_queue = owns_queue
        if not owns_queue:
            self._queue.drop()
        return self._queue.take()

    async def release(self, entries: Sequence[Entry]) -> None:
        """Count the messages as dropped. They are lost, as Redis cannot take them back."""
        self._queue.drop(entries)

    async def close(self) -> None:
        await self._unsubscribe()
        self._queue.drop()
        if self._lease:
            if self._may_hold_lease:
                with contextlib.suppress(SourceError):  # otherwise it expires
                    await self._lease.release()
            self._on_lease(False)
            await self._lease.close()
        await self._client.aclose()

    async def _update_role(self) -> None:
        """Become, stay or stop being the holder, and subscribe accordingly."""
        if self._subscription is not None and self._subscription.ended:
            await self._unsubscribe()
            await self._client.invalidate_routes()
        if self._draining and not self._is_holder:
            await self._unsubscribe()
            return
        if self._handover:
            await self._subscribe(self._handover.channel)
        if self._lease is None or await self._acquire(self._lease):
            self._is_holder = True
            await self._subscribe(self._trigger.channel, pattern=self._trigger.is_pattern, then=self._accept)
        elif self._is_holder:
            await self._lose_lease()
        elif self._lease and self._handover and self._handover.due:
            await self._take_over(self._lease, self._handover)
        if self._subscription is not None:
            async with self._unsubscribing_on_error():
                await self._subscription.check_alive(self._renew_seconds)
            await self._subscription.follow_topology()

    async def _acquire(self, lease: Lease) -> bool:
        self._may_hold_lease = True
        epoch = lease.epoch
        try:
            held = await lease.acquire()
        finally:
            self._on_lease(lease.held)
        if held and self._is_holder and lease.epoch != epoch:
            await self._lose_lease()  # it expired unnoticed, and another instance may have held it in the meantime
        return held

    async def _lose_lease(self) -> None:
        """Unsubscribe and drop the queue: another instance is the holder and may have received the same messages."""
        self._is_holder = False
        await self._unsubscribe()
        self._queue.drop()

    async def _take_over(self, lease: Lease, handover: Handover) -> None:
        """Take over from a draining holder: subscribe, and discard messages until the marker arrives."""
        self._marker_received.clear()
        async with self._unsubscribing_on_error():  # a marker that is still on its way must find no subscription
            subscription = await self._subscribe(self._trigger.channel, pattern=self._trigger.is_pattern)
            if not await handover.take_over():
                await subscription.remove(self._trigger.channel, pattern=self._trigger.is_pattern)
                return
            if not await subscription.wait_for(self._marker_received, MARKER_SECONDS):
                raise SourceTimeoutError(f"took over the lease of {self._trigger.channel!r}, but no marker arrived")
        if not await self._acquire(lease):
            await self._lose_lease()

    async def _hand_over_or_release(self, lease: Lease) -> bool:
        """Stop being the holder. Return whether the queued messages belong to this instance alone."""
        if self._handover is None or self._subscription is None:
            held = lease.held
            await self._unsubscribe()
            return await lease.release() or held
        others: int | None = 0
        with contextlib.suppress(SourceError):  # without an offer the lease is only released
            others = await self._handover.offer()
        if others is None:
            return False
        if others:
            await self._subscription.wait_for(self._lease_ended, HANDOVER_SECONDS)
        held = lease.held
        released = self._released = not self._lease_ended.is_set() and await lease.release()
        # A notice is on its way: a successor's marker or our own release. Messages that arrive before it are ours.
        await self._subscription.wait_for(self._lease_ended, MARKER_SECONDS)
        return released or held or self._lease_ended.is_set()

    def _accept(self) -> None:
        self._accepting = True

    async def _subscribe(
        self, channel: str, *, pattern: bool = False, then: Callable[[], object] | None = None
    ) -> Subscription:
        """Subscribe to a channel or pattern if needed; keyspace notifications of a cluster need every primary."""
        if self._subscription is None and self._client.is_cluster and is_keyspace_channel(self._trigger.channel):
            self._subscription = ClusterSubscription(self._client, self._on_message, self._wake.set)
        elif self._subscription is None:
            redis = await self._client.subscription(self._trigger.channel)
            self._subscription = NodeSubscription(redis, self._on_message, self._wake.set)
        if not self._subscription.is_subscribed(channel):
            async with self._unsubscribing_on_error():
                await self._subscription.add(channel, pattern=pattern, then=then)
        return self._subscription

    async def _unsubscribe(self) -> None:
        """Close the subscription's connections, which unsubscribes at once."""
        self._accepting = False
        if self._handover:
            self._handover.cancel()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    @contextlib.asynccontextmanager
    async def _unsubscribing_on_error(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self._unsubscribe()
            await self._client.invalidate_routes()
            raise

    def _on_message(self, message: Message) -> bool:
        channel = decode(message.channel)
        if self._handover and channel == self._handover.channel:
            if message.pattern is None:  # a user's pattern may match this channel too
                self._on_notice(self._handover.interpret(message.data))
            return True
        if self._accepting and not concerns_a_lease(channel, message.data):
            pattern = decode(message.pattern) if message.pattern is not None else None
            epoch = self._lease.epoch if self._lease else None
            self._queue.put(Entry(channel, payload=message.data, pattern=pattern, epoch=epoch))
        return len(self._queue) > YIELD_ABOVE_LENGTH

    def _on_notice(self, notice: Notice | None) -> None:
        if notice is Notice.BEGIN:
            self._accepting = self._is_holder = True
            self._marker_received.set()
        elif notice is Notice.END and self._is_holder:
            self._accepting = False
            self._lease_ended.set()
        elif notice is Notice.ACQUIRE:
            self._wake.set()

    async def _pause(self, seconds: float) -> None:
        """Wait until woken, at most `seconds`. Raises SourceError if the subscription has ended."""
        await wait_for_event(self._wake, seconds)
        self._wake.clear()
        if self._subscription is not None:
            self._subscription.raise_if_ended()

    async def _keyspace_warning(self) -> str:
        try:
            doing = "CONFIG GET notify-keyspace-events"
            replies = await self._client.on_every_primary("CONFIG", "GET", "notify-keyspace-events", doing=doing)
        except (AccessDeniedError, CommandRefusedError):
            return "; cannot check whether the server publishes these notifications (CONFIG GET is denied)"
        return keyspace_warning(self._trigger.channel, [decode(reply[1]) if reply else "" for reply in replies])
