"""Reads pub/sub triggers: subscribes while it holds the lease, and hands messages over through a bounded queue."""

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

#: Messages that wait for the function; more are dropped, and counted.
QUEUE_SIZE = 10_000
#: When more than so many wait, functions get their turn after each message that is read.
MANY_WAIT = 200
#: The holder renews this often within one lease time.
RENEWALS_PER_LEASE = 10 / 3
MAX_WAIT_SECONDS = 1.0
#: How long a holder that drains waits for one that stands by.
HAND_OVER_SECONDS = 0.5
#: How long the marker may take from Redis to us.
MARKER_SECONDS = 0.5
#: The longest that the last steps against Redis may take.
STOP_SECONDS = 1.5


class PubSubSource(Source):
    """The channel of one trigger.

    Without a `lease` every instance subscribes. With `handover` the lease passes from one instance to the next
    without a gap, else it is released at a drain and acquired by another soon after. `lease_seconds` is the lease's
    time to live. `on_drop` is told how many messages were dropped, `on_lease` whether the lease is held.
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
        #: One step at a time changes who holds the lease and what is subscribed to.
        self._changing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._begun = asyncio.Event()
        self._ended = asyncio.Event()
        self._holder = False
        self._accepting = False
        self._draining = False
        self._stopped = False
        self._ours_to_the_end = True
        self._released = False
        self._may_hold = False

    async def open(self) -> None:
        """Find out what Redis is; maintain() subscribes when it holds the lease."""
        await self._client.server()
        if self._client.is_cluster:
            self._handover = None  # it needs one order of all that is published

    async def describe(self) -> str:
        server = await self._client.server()
        command = "PSUBSCRIBE" if self._trigger.is_pattern else "SUBSCRIBE"
        once = f"in one instance, by {await self._lease.describe()}" if self._lease else "in every instance"
        warning = await self._keyspace_warning() if is_keyspace_channel(self._trigger.channel) else ""
        return f"{server}, {command} {self._trigger.channel}, {once}{warning}"

    async def maintain(self) -> None:
        """Acquire or renew the lease, subscribe while it is held, and see that the subscription is alive."""
        async with self._changing:
            if not self._stopped:
                await self._look()
        seconds = self._renew_seconds if self._holder or not self._lease else self._lease.retry_seconds
        await self._pause(min(seconds, self._subscription.follow_seconds if self._subscription else seconds))

    async def take(self, count: int) -> list[Entry]:
        """Messages from the queue, if the lease is held: no call may start after its end."""
        await self._queue.wait(MAX_WAIT_SECONDS)
        return self._taken(count)

    async def settle_and_take(self, succeeded: Sequence[Entry], count: int) -> list[Entry]:
        return self._taken(count)

    def _taken(self, count: int) -> list[Entry]:
        entries = self._queue.take(count)
        if self._lease and not self._lease.held:
            self._queue.drop(entries)
            return []
        return entries

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Redis keeps no message: those that no call was made for are counted as dropped."""
        self._queue.drop(settlement.entry for settlement in settlements if settlement.outcome is Outcome.LAPSED)

    async def renew(self, entries: Sequence[Entry]) -> None:
        """Nothing: a message has no lease of its own."""

    def may_start(self, entry: Entry) -> bool:
        """Whether the lease is held, which the message came under; after stop(), whether it was ours to the end."""
        if self._lease is None or self._stopped:
            return self._ours_to_the_end
        return self._lease.held and self._lease.epoch == entry.epoch

    def stop_waiting(self) -> None:
        """Become the holder no more. One that holds the lease keeps it until stop() passes it on."""
        self._draining = True
        self._queue.wake()
        self._wake.set()

    async def stop(self) -> list[Entry]:
        """Pass the lease on or end it, unsubscribe, and return what has come so far: no other instance will get it."""
        self._ours_to_the_end = self._lease is None or self._lease.held
        ours: bool | None = None
        with contextlib.suppress(TimeoutError, SourceError):
            async with asyncio.timeout(STOP_SECONDS), self._changing:
                self._stopped = True
                if self._lease and self._holder:
                    ours = await self._let_go(self._lease)
        self._stopped = True
        await self._unsubscribe()
        self._on_lease(False)
        if ours is None:
            # Redis did not answer in time. Up to the end of the lease nobody else can have been subscribed.
            ours = self._lease is None or self._lease.held or self._ended.is_set() or self._released
        self._ours_to_the_end = ours
        if not ours:
            self._queue.drop()
        return self._queue.take()

    async def release(self, entries: Sequence[Entry]) -> None:
        """Nothing can be handed back: the messages are lost, and counted as dropped."""
        self._queue.drop(entries)

    async def close(self) -> None:
        await self._unsubscribe()
        self._queue.drop()
        if self._lease:
            if self._may_hold:
                with contextlib.suppress(SourceError):  # it ends by itself
                    await self._lease.release()
            self._on_lease(False)
            await self._lease.close()
        await self._client.aclose()

    async def _look(self) -> None:
        """Become, stay, or cease to be the holder."""
        if self._subscription is not None and self._subscription.ended:
            await self._unsubscribe()
            await self._client.invalidate_routes()
        if self._draining and not self._holder:
            await self._unsubscribe()
            return
        if self._handover:
            await self._subscribe(self._handover.channel)
        if self._lease is None or await self._acquire(self._lease):
            self._holder = True
            await self._subscribe(self._trigger.channel, pattern=self._trigger.is_pattern, then=self._accept)
        elif self._holder:
            await self._lose()
        elif self._lease and self._handover and self._handover.due:
            await self._succeed(self._lease, self._handover)
        if self._subscription is not None:
            async with self._unsubscribed_on_error():
                await self._subscription.check_alive(self._renew_seconds)
            await self._subscription.follow_topology()

    async def _acquire(self, lease: Lease) -> bool:
        self._may_hold = True
        epoch = lease.epoch
        try:
            held = await lease.acquire()
        finally:
            self._on_lease(lease.held)
        if held and self._holder and lease.epoch != epoch:
            await self._lose()  # it had run out unnoticed, and another instance may have been the holder meanwhile
        return held

    async def _lose(self) -> None:
        """Another instance is the holder: what has come since may have come to that one too."""
        self._holder = False
        await self._unsubscribe()
        self._queue.drop()

    async def _succeed(self, lease: Lease, handover: Handover) -> None:
        """Take over from a holder that drains: subscribe and discard until the marker comes."""
        self._begun.clear()
        async with self._unsubscribed_on_error():  # a marker may be on its way, which must find nobody
            subscription = await self._subscribe(self._trigger.channel, pattern=self._trigger.is_pattern)
            if not await handover.take_over():
                await subscription.remove(self._trigger.channel, pattern=self._trigger.is_pattern)
                return
            if not await subscription.wait_for(self._begun, MARKER_SECONDS):
                raise SourceTimeoutError(f"the lease of {self._trigger.channel!r} was taken over, but no marker came")
        if not await self._acquire(lease):
            await self._lose()

    async def _let_go(self, lease: Lease) -> bool:
        """Stop being the holder; whether what is in the queue is ours alone."""
        if self._handover is None or self._subscription is None:
            held = lease.held
            await self._unsubscribe()
            return await lease.release() or held
        others: int | None = 0
        with contextlib.suppress(SourceError):  # without an offer the lease just ends
            others = await self._handover.offer()
        if others is None:
            return False
        if others:
            await self._subscription.wait_for(self._ended, HAND_OVER_SECONDS)
        held = lease.held
        released = self._released = not self._ended.is_set() and await lease.release()
        # Either a successor's marker is on its way or our own: what comes before it is ours.
        await self._subscription.wait_for(self._ended, MARKER_SECONDS)
        return released or held or self._ended.is_set()

    def _accept(self) -> None:
        self._accepting = True

    async def _subscribe(
        self, channel: str, *, pattern: bool = False, then: Callable[[], object] | None = None
    ) -> Subscription:
        """See that a channel or pattern is subscribed to, on the one connection, or at every primary of a cluster."""
        if self._subscription is None and self._client.is_cluster and is_keyspace_channel(self._trigger.channel):
            self._subscription = ClusterSubscription(self._client, self._received, self._wake.set)
        elif self._subscription is None:
            redis = await self._client.subscription(self._trigger.channel)
            self._subscription = NodeSubscription(redis, self._received, self._wake.set)
        if not self._subscription.is_subscribed(channel):
            async with self._unsubscribed_on_error():
                await self._subscription.add(channel, pattern=pattern, then=then)
        return self._subscription

    async def _unsubscribe(self) -> None:
        """Close the subscription's connection, which ends it at once."""
        self._accepting = False
        if self._handover:
            self._handover.cancel()
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.close()

    @contextlib.asynccontextmanager
    async def _unsubscribed_on_error(self) -> AsyncIterator[None]:
        try:
            yield
        except BaseException:
            await self._unsubscribe()
            await self._client.invalidate_routes()
            raise

    def _received(self, message: Message) -> bool:
        channel = decode(message.channel)
        if self._handover and channel == self._handover.channel:
            if message.pattern is None:  # a pattern of the user's may match it too
                self._noticed(self._handover.interpret(message.data))
            return True
        if self._accepting and not concerns_a_lease(channel, message.data):
            pattern = decode(message.pattern) if message.pattern is not None else None
            epoch = self._lease.epoch if self._lease else None
            self._queue.put(Entry(channel, payload=message.data, pattern=pattern, epoch=epoch))
        return len(self._queue) > MANY_WAIT

    def _noticed(self, notice: Notice | None) -> None:
        if notice is Notice.BEGIN:
            self._accepting = self._holder = True
            self._begun.set()
        elif notice is Notice.END and self._holder:
            self._accepting = False
            self._ended.set()
        elif notice is Notice.LOOK:
            self._wake.set()

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than nothing happens and the subscription lives."""
        await wait_for_event(self._wake, seconds)
        self._wake.clear()
        if self._subscription is not None:
            self._subscription.raise_if_ended()

    async def _keyspace_warning(self) -> str:
        try:
            doing = "CONFIG GET notify-keyspace-events"
            answers = await self._client.on_every_primary("CONFIG", "GET", "notify-keyspace-events", doing=doing)
        except (AccessDeniedError, CommandRefusedError):
            return "; the server does not say whether it publishes these notifications (CONFIG GET is denied)"
        return keyspace_warning(self._trigger.channel, [decode(answer[1]) if answer else "" for answer in answers])
