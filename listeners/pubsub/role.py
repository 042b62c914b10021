"""Acquires, renews, takes over and passes on the lease, and subscribes while this instance holds it."""

import contextlib
import time
from collections.abc import Callable

from listeners.errors import SourceError, SourceUnavailableError
from listeners.leases.handover import Handover, Notice
from listeners.leases.lease import Lease
from listeners.pubsub.receiver import Receiver
from listeners.pubsub.states import State, StateMachine

__all__ = ["Role"]

#: How often a draining holder offers its lease to the standbys.
OFFER_SECONDS = 0.5


class Role:
    """Moves `states` as the lease requires, and subscribes `receiver` accordingly. Its steps must not overlap.

    Without a `lease` every instance subscribes. With `handover` a draining holder passes the lease to a standby without
    a gap; without it, the holder releases the lease and a standby acquires it soon after.

    `on_lease` is called with whether the lease is held, `on_lost` when another instance may have received the messages
    that this one accepted, and `wake` when update() is due.
    """

    def __init__(
        self,
        states: StateMachine,
        receiver: Receiver,
        *,
        lease: Lease | None,
        handover: Handover | None,
        renew_seconds: float,
        on_lease: Callable[[bool], object],
        on_lost: Callable[[], object],
        wake: Callable[[], object],
    ) -> None:
        self._states = states
        self._receiver = receiver
        self._lease = lease
        self._handover = handover
        self._renew_seconds = renew_seconds
        self._on_lease = on_lease
        self._on_lost = on_lost
        self._wake = wake

    @property
    def update_seconds(self) -> float:
        """The time until the next update() is due."""
        standby = self._lease is not None and not self._states.is_holder
        seconds = self._lease.retry_seconds if self._lease and standby else self._renew_seconds
        return min(seconds, self._receiver.follow_seconds)

    async def update(self) -> None:
        """Acquire, renew or take over the lease, subscribe accordingly, and check the connection."""
        if self._states.state is State.ENDED:
            await self._receiver.disconnect()
            return
        if self._states.state is State.WAITING and self._receiver.is_subscribed:
            await self._receiver.disconnect()  # the lease was lost
        if self._handover:
            await self._receiver.connect()
        if self._lease is None or await self._acquire(self._lease):
            await self._hold()
        elif self._states.is_holder:
            await self._lose()
        elif self._handover and self._handover.due and self._states.state is State.WAITING:
            await self._take_over(self._handover)
        await self._receiver.check(self._renew_seconds)

    def on_notice(self, payload: bytes) -> None:
        """Process a message on the channel for notices."""
        notice = self._handover.interpret(payload) if self._handover else None
        state = self._states.state
        if notice is Notice.BEGIN and state is State.TAKING_OVER:
            self._states.marked()
        elif notice is Notice.END and state in {State.HANDING_OVER, State.RELEASED}:
            self._states.passed_on()
        elif notice is Notice.END and self._states.is_holder:
            self._states.lost()
            self._on_lost()
            self._wake()
        elif notice is Notice.ACQUIRE:
            self._wake()

    def lapse(self) -> None:
        """Stop accepting messages if the lease has ended: another instance may receive them from now on."""
        if self._lease is not None and not self._lease.held and self._states.is_holder:
            self._on_lease(False)
            self._states.lost()
            self._on_lost()
            self._wake()  # update() unsubscribes

    def stop_waiting(self) -> None:
        """Stop standing by. A holder stays the holder until hand_over()."""
        if self._states.state is State.WAITING:
            self.end()
        self._wake()

    async def hand_over(self, seconds: float) -> None:
        """As the holder, pass the lease to a standby. Release it if there is none, or none takes over within `seconds`.

        Raises SourceError.
        """
        lease, handover = self._lease, self._handover
        if lease is None or not self._states.is_holder:
            return
        self._states.hand_over(owns_messages=lease.held)
        if handover is None or not self._receiver.is_subscribed:
            await self._release_unsubscribed(lease)
            return
        others: int | None = 0
        with contextlib.suppress(SourceError):  # without an offer the lease is only released
            others = await handover.offer()
        if others is None:
            self._states.end(owns_messages=False)
            return
        ended = self._states.entered(State.ENDED)
        give_up_at = time.monotonic() + seconds
        while others and not await self._receiver.wait_for(ended, OFFER_SECONDS) and time.monotonic() < give_up_at:
            others = 0
            with contextlib.suppress(SourceError):  # None: a standby has taken over, and its marker is on its way
                others = await handover.offer()
        is_alone = True
        if not ended.is_set():
            held = lease.held
            if released := await lease.release():
                self._states.released()
            is_alone = released or held
            # A notice was published: a successor's marker or our own release. Messages that arrive before it are ours.
            with contextlib.suppress(SourceError):
                await self._receiver.catch_up()
        self._states.end(owns_messages=is_alone)

    def end(self) -> None:
        """Accept no more messages. Until the lease ends, no other instance can have been subscribed."""
        is_alone = self._lease is None or self._lease.held or self._states.state is State.RELEASED
        self._states.end(owns_messages=is_alone)

    async def _acquire(self, lease: Lease) -> bool:
        epoch = lease.epoch
        try:
            held = await lease.acquire()
        finally:
            self._on_lease(lease.held)
        # It may have expired unnoticed. The next epoch tells that no other instance has held it in the meantime.
        if held and self._states.is_holder and lease.epoch not in {epoch, epoch + 1}:
            await self._lose()
        return held

    async def _hold(self) -> None:
        """Subscribe as the holder, unless stop_waiting() was called while the lease was acquired."""
        if self._states.state is State.ENDED:
            if self._lease:
                await self._lease.release()
            return
        if self._states.state is State.WAITING:
            if self._receiver.is_subscribed:
                await self._receiver.disconnect()  # the lease lapsed while it was renewed
            self._states.acquired()
        await self._receiver.subscribe(self._states.confirmed)

    async def _lose(self) -> None:
        """Unsubscribe, as another instance is the holder and may have received the same messages."""
        self._states.lost()
        self._on_lost()
        await self._receiver.disconnect()

    async def _take_over(self, handover: Handover) -> None:
        """Take over from a draining holder: subscribe, and discard messages until the marker arrives."""
        self._states.take_over()
        try:
            await self._succeed(handover)
        except BaseException:
            await self._receiver.disconnect()  # a marker that is still on its way must find no subscription
            raise
        self._wake()

    async def _succeed(self, handover: Handover) -> None:
        await self._receiver.subscribe()
        if not await handover.take_over():
            await self._receiver.unsubscribe()
            self._states.give_up()
            return
        await self._receiver.catch_up()
        if self._states.state is not State.HOLDING:
            raise SourceUnavailableError("took over the lease, but no marker arrived")

    async def _release_unsubscribed(self, lease: Lease) -> None:
        """Release the lease without a handover."""
        held, released = lease.held, False
        await self._receiver.disconnect()
        try:
            released = await lease.release()
        finally:
            self._states.end(owns_messages=held or released)
