"""Passes a lease in Redis to another instance while messages keep coming: none is lost or handled twice.

The draining holder announces that it drains and stays subscribed. A standby subscribes to the channel, discards what it
receives, and then takes over the lease and publishes a marker in one step. Redis publishes everything in one order and
keeps that order on each connection: the old holder handles what arrives before the marker, the new one what arrives
after it. Both receive the marker on the same connection as the channel's messages.

This needs a single server: on a cluster, a subscriber and a publisher may be connected to different nodes.
"""

from enum import Enum

from listeners.keys import lease_notices_channel
from listeners.leases.redis_lease import RedisLease
from listeners.runtime.clock import boot_seconds
from listeners.text import decode

__all__ = ["Handover", "Notice"]


#: The most digits of an epoch, which Redis counts in 64 bits. Python does not convert thousands of digits.
MAX_DIGITS = 19


class Notice(Enum):
    """What a message on the channel for notices means for this instance."""

    #: We have taken over: messages from now on are ours.
    BEGIN = "begin"
    #: We have passed on or released the lease: messages so far are ours, later ones are not.
    END = "end"
    #: Another instance drains or has released the lease: try to acquire it now.
    ACQUIRE = "acquire"


class Handover:
    """The handover of one function's lease, for the holder and for standbys."""

    def __init__(self, lease: RedisLease) -> None:
        self.channel = lease_notices_channel(lease.key)
        self._lease = lease
        self._requested_at: float | None = None

    @property
    def due(self) -> bool:
        """Whether the holder was draining at the last acquire()."""
        return self._lease.holder_drains

    async def offer(self) -> int | None:
        """As the holder, announce a drain. Return how many others listen, or None if the lease is no longer ours."""
        sent_at = boot_seconds()
        (listening,) = await self._lease.run("offer")
        if listening < 0:
            return None
        self._lease.granted(self._lease.epoch, sent_at)
        return listening - 1

    async def take_over(self) -> bool:
        """Become the holder, as a standby that is subscribed and discards. Return False if another one was faster.

        The marker may arrive before this returns. If this raises, close the subscription: a marker may be on its way.
        """
        requested_at = self._requested_at = boot_seconds()
        won, *epoch = await self._lease.run("take_over")
        if not won:
            self._requested_at = None
            return False
        self._lease.granted(epoch[0], requested_at)
        return True

    def cancel(self) -> None:
        """Stop expecting a marker, as the subscription was closed."""
        self._requested_at = None

    def interpret(self, payload: bytes) -> Notice | None:
        """Return what a notice means for us; None if nothing, or if the payload is not a notice."""
        match decode(payload).split(" ", 2):
            case [verb, epoch, name] if epoch.isdecimal() and len(epoch) <= MAX_DIGITS:
                return self._meaning(verb, int(epoch), ours=name == self._lease.holder)
        return None

    def _meaning(self, verb: str, epoch: int, *, ours: bool) -> Notice | None:
        if verb == "taken" and ours and self._requested_at is not None:
            # The marker is the proof, even if the script's reply was lost.
            self._lease.granted(epoch, self._requested_at)
            self._requested_at = None
            return Notice.BEGIN
        ended = self._lease.epoch
        if (verb, epoch) == ("taken", ended + 1) or (ours and (verb, epoch) == ("released", ended)):
            return Notice.END
        return Notice.ACQUIRE if verb in {"draining", "released"} and not ours else None
