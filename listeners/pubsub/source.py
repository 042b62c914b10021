"""Reads pub/sub triggers: subscribes while it holds the lease, and buffers messages in a bounded queue."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from listeners.engine.settlement import Outcome, Refusal, Settlement
from listeners.engine.source import Description, Source
from listeners.errors import AccessDeniedError, CommandRefusedError, SourceError
from listeners.functions.entries import Entry
from listeners.functions.triggers import PubSubTrigger
from listeners.keys import is_keyspace_channel, is_own_message
from listeners.leases.handover import Handover
from listeners.leases.lease import Lease
from listeners.pubsub.drops import DropReason, Drops
from listeners.pubsub.queue import MessageQueue
from listeners.pubsub.receiver import Receiver
from listeners.pubsub.role import Role
from listeners.pubsub.states import StateMachine
from listeners.redis.client import Client
from listeners.redis.keyspace import keyspace_problem
from listeners.redis.subscriptions.shared import SharedSubscriptions
from listeners.redis.subscriptions.subscription import Message
from listeners.runtime.tasks import wait_for_event
from listeners.text import decode

__all__ = ["PubSubSource"]

#: While more messages than this wait, functions get a turn after each message that is read.
YIELD_ABOVE_LENGTH = 200
#: Renewals by the holder within one lease time.
RENEWALS_PER_LEASE = 10 / 3
#: The longest that take() waits for a message.
MAX_WAIT_SECONDS = 1.0
#: How long after the end of the lease this instance stops accepting messages.
AFTER_LEASE_SECONDS = 0.001
#: The longest that a draining holder waits for a standby to take over, even if stop() may take longer.
HANDOVER_SECONDS = 5.0
#: The part of the time for stop() in which a standby may take over, and the part after which the lease is released.
HANDOVER_SHARE, RELEASE_SHARE = 0.5, 0.9


class PubSubSource(Source):
    """Reads the channel or pattern of one trigger.

    `name` is the function's. Functions with the same Redis share `subscriptions`. Without a `lease` every instance
    subscribes. `handover` is not used on a cluster. `lease_seconds` is the lease's time to live, and `max_bytes` bounds
    the queue. `on_drop` is called with the number of messages dropped, `on_lease` with whether the lease is held.
    """

    def __init__(
        self,
        trigger: PubSubTrigger,
        name: str,
        client: Client,
        subscriptions: SharedSubscriptions,
        *,
        lease: Lease | None,
        handover: Handover | None,
        lease_seconds: float,
        max_bytes: int,
        on_drop: Callable[[int], object],
        on_lease: Callable[[bool], object],
    ) -> None:
        self._trigger = trigger
        self._client = client
        self._subscriptions = subscriptions
        self._lease = lease
        self._handover = handover
        self._renew_seconds = lease_seconds / RENEWALS_PER_LEASE
        self._on_lease = on_lease
        self._drops = Drops(name, on_drop)
        self._queue = MessageQueue(self._drops, max_bytes)
        self._states = StateMachine()
        #: Serializes changes of the lease and of the subscription.
        self._change_lock = asyncio.Lock()
        self._wake = asyncio.Event()
        #: The numbers of the next message, and of the first one that no other instance can have received.
        self._next_number = self._first_number = 0
        #: Messages that were not called because the lease had ended, until they are back in the queue.
        self._returning: set[Entry] = set()
        #: Ends the wait of take() for the next renewal.
        self._renewed = asyncio.Event()
        self._lease_end: asyncio.TimerHandle | None = None
        self._receiver, self._role = self._connect_parts()

    async def open(self) -> None:
        """Detect the kind of server. maintain() subscribes once the lease is held."""
        await self._client.server()
        if self._client.is_cluster:
            self._handover = None  # it needs a single order of everything published
            self._receiver, self._role = self._connect_parts()

    async def describe(self) -> Description:
        server = await self._client.server()
        command = "PSUBSCRIBE" if self._trigger.is_pattern else "SUBSCRIBE"
        once = f"in one instance, with {await self._lease.describe()}" if self._lease else "in every instance"
        return await self._with_notifications(f"{server}, {command} {self._trigger.channel}, {once}")

    async def maintain(self) -> None:
        """Acquire or renew the lease, stay subscribed while it is held, and check that the subscription is alive."""
        async with self._change_lock:
            try:
                await self._role.update()
            except SourceError:
                self._watch_lease()
                raise
            self._stop_watching()
            self._renewed.set()
        await wait_for_event(self._wake, self._role.update_seconds)
        self._wake.clear()
        self._receiver.raise_if_ended()

    async def take(self, count: int, max_bytes: int) -> list[Entry]:
        """Take messages from the queue if the lease is held. No call may start after the lease ends.

        If the lease ended because this process was blocked or suspended, they wait for the next renewal, which tells
        whether another instance has held it.
        """
        await self._queue.wait(MAX_WAIT_SECONDS)
        if self._lease and self._states.is_holder and (self._returning or not self._lease.held):
            self._renewed.clear()
            self._wake.set()
            await wait_for_event(self._renewed, MAX_WAIT_SECONDS)
            return []
        entries = self._queue.take(count, max_bytes)
        if self._lease and not self._lease.held:
            self._drops.add(len(entries), DropReason.LEASE_ENDED)
            return []
        return entries

    async def settle(self, settlements: Sequence[Settlement]) -> list[Refusal]:
        """Queue messages that lapsed without a call again, or count them as dropped if another instance has them."""
        lapsed = [settlement.entry for settlement in settlements if settlement.outcome is Outcome.LAPSED]
        own = [entry for entry in lapsed if entry in self._returning and not self._is_lost(entry)]
        self._drops.add(len(lapsed) - len(own), DropReason.LEASE_ENDED)
        self._returning.difference_update(lapsed)
        self._queue.put_back(own)
        if not self._returning:
            self._renewed.set()
        return []

    def may_start(self, entry: Entry) -> bool:
        """Return whether the lease is held, and no other instance has held it since the message arrived."""
        if self._is_lost(entry):
            return False
        if self._lease is None or self._states.drains:
            return self._states.owns_messages
        # One that overtakes those on their way back to the queue would break the order.
        if self._returning or not self._lease.held:
            self._returning.add(entry)
            return False
        entry.epoch = self._lease.epoch  # the token of the lease under which the call runs
        return True

    def stop_waiting(self) -> None:
        """End waits and stop acquiring the lease. A current holder keeps it until stop()."""
        self._queue.wake()
        self._renewed.set()
        self._role.stop_waiting()

    async def stop(self, seconds: float) -> list[Entry]:
        """Pass on or release the lease, unsubscribe, and return the messages so far, which no other instance gets."""
        with contextlib.suppress(TimeoutError, SourceError):
            async with asyncio.timeout(RELEASE_SHARE * seconds), self._change_lock:
                await self._role.hand_over(min(HANDOVER_SECONDS, HANDOVER_SHARE * seconds))
        self._role.end()
        await self._receiver.disconnect()
        self._on_lease(False)
        if not self._states.owns_messages:
            self._queue.drop(DropReason.LEASE_ENDED)
        return self._queue.take_all()

    async def release(self, entries: Sequence[Entry]) -> None:
        """Count the messages as dropped. They are lost, as Redis cannot take them back."""
        self._drops.add(len(entries), DropReason.SHUT_DOWN)

    async def close(self) -> None:
        self._stop_watching()
        self._role.end()
        await self._receiver.disconnect()
        self._queue.drop(DropReason.SHUT_DOWN)
        self._drops.close()
        if self._lease:
            with contextlib.suppress(SourceError):  # otherwise it expires
                await self._lease.release()
            self._on_lease(False)
            await self._lease.close()

    def _connect_parts(self) -> tuple[Receiver, Role]:
        """Return the parts that subscribe and that hold the lease, with or without a handover."""
        receiver = Receiver(
            self._trigger,
            self._subscriptions,
            self._handover.channel if self._handover else None,
            on_message=self._on_message,
            on_end=self._wake.set,
            on_disconnect=self._disconnected,
        )
        role = Role(
            self._states,
            receiver,
            lease=self._lease,
            handover=self._handover,
            renew_seconds=self._renew_seconds,
            on_lease=self._on_lease,
            on_lost=self._lost,
            wake=self._wake.set,
        )
        return receiver, role

    def _is_lost(self, entry: Entry) -> bool:
        """Return whether another instance may have received the message."""
        return bool(entry.receipt < self._first_number)

    def _lost(self) -> None:
        self._first_number = self._next_number
        self._queue.drop(DropReason.LEASE_ENDED)
        self._renewed.set()

    def _watch_lease(self) -> None:
        """After a renewal that failed, act on the end of the lease when it comes: the next attempt may be later."""
        self._stop_watching()
        self._role.lapse()
        if self._lease is not None and self._states.is_holder:
            loop = asyncio.get_running_loop()
            self._lease_end = loop.call_later(self._lease.remaining_seconds + AFTER_LEASE_SECONDS, self._watch_lease)

    def _stop_watching(self) -> None:
        if self._lease_end is not None:
            self._lease_end.cancel()
            self._lease_end = None

    def _on_message(self, message: Message) -> bool:
        channel = decode(message.channel)
        if self._handover and channel == self._handover.channel:
            if message.pattern is None:  # a user's pattern may match this channel too
                self._role.on_notice(message.data)
            return True
        if self._states.accepts and not is_own_message(channel, message.data):
            pattern = decode(message.pattern) if message.pattern is not None else None
            epoch = self._lease.epoch if self._lease else None
            entry = Entry(channel, payload=message.data, pattern=pattern, epoch=epoch, receipt=self._next_number)
            self._next_number += 1
            # A function whose queue is full does not keep up in its turns, which would hold back other functions.
            return self._queue.put(entry) and len(self._queue) > YIELD_ABOVE_LENGTH
        return False

    def _disconnected(self) -> None:
        if self._handover:
            self._handover.cancel()
        self._states.disconnected()

    async def _with_notifications(self, text: str) -> Description:
        """Add whether the server publishes the keyspace notifications that the trigger reads, if it reads any."""
        if not is_keyspace_channel(self._trigger.channel):
            return Description(text)
        try:
            doing = "CONFIG GET notify-keyspace-events"
            replies = await self._client.on_every_primary("CONFIG", "GET", "notify-keyspace-events", doing=doing)
        except (AccessDeniedError, CommandRefusedError):
            return Description(
                text, "cannot check whether the server publishes these notifications (CONFIG GET is denied)"
            )
        configured = [decode(reply[1]) if reply else "" for reply in replies]
        problem = keyspace_problem(self._trigger.channel, configured)
        return Description(text, problem, logging.ERROR if problem else logging.INFO)
