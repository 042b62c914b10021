"""Passing a lease in Redis on while messages go on: nothing is lost, and nothing handled twice.

The instance that drains says so and stays subscribed. One that stands by subscribes to the channel, discards what it
gets, and then takes the lease over in one step with publishing a marker. Redis has one order for all that is published,
and keeps it on each connection: the old holder handles what comes before the marker, the new one what comes after it.
Both listen for the marker on the connection that the channel's messages come on.

This needs one server for both: on a cluster a subscription and a publisher may be connected to different nodes.
"""

from enum import Enum

from listeners.keys import lease_notices_channel
from listeners.leases.redis_lease import RedisLease
from listeners.runtime.clock import boot_seconds
from listeners.text import decode

__all__ = ["Handover", "Notice"]


class Notice(Enum):
    """What a message on the channel for notices means to this instance."""

    #: We have taken over: what comes from now on is ours.
    BEGIN = "begin"
    #: We have passed the lease on or ended it: what has come so far is ours, what comes from now on is not.
    END = "end"
    #: Something changed for an instance that stands by: ask for the lease now.
    LOOK = "look"


class Handover:
    """The hand-over of one function's lease, from either side."""

    def __init__(self, lease: RedisLease) -> None:
        self.channel = lease_notices_channel(lease.key)
        self._lease = lease
        self._asked_at: float | None = None

    @property
    def due(self) -> bool:
        """Whether the holder is on its way out, as acquire() saw it last."""
        return self._lease.holder_drains

    async def offer(self) -> int | None:
        """As the holder, say that we drain; how many others listen, or None if the lease is not ours any more."""
        sent_at = boot_seconds()
        (listening,) = await self._lease.run("offer")
        if listening < 0:
            return None
        self._lease.granted(self._lease.epoch, sent_at)
        return listening - 1

    async def take_over(self) -> bool:
        """As one that is subscribed and discards, become the holder; False if another one was quicker.

        The marker may come before this returns. If it raises the subscription must be given up: a marker may be on
        its way.
        """
        asked_at = self._asked_at = boot_seconds()
        won, *epoch = await self._lease.run("take_over")
        if not won:
            self._asked_at = None
            return False
        self._lease.granted(epoch[0], asked_at)
        return True

    def cancel(self) -> None:
        """Expect no marker any more, as the subscription was given up."""
        self._asked_at = None

    def interpret(self, payload: bytes) -> Notice | None:
        """What a notice means to us; None if nothing, or if it is none."""
        match decode(payload).split(" ", 2):
            case [verb, epoch, name] if epoch.isdecimal():
                return self._meaning(verb, int(epoch), ours=name == self._lease.holder)
        return None

    def _meaning(self, verb: str, epoch: int, *, ours: bool) -> Notice | None:
        if verb == "taken" and ours and self._asked_at is not None:
            # The marker is the proof, whatever became of the script's answer.
            self._lease.granted(epoch, self._asked_at)
            self._asked_at = None
            return Notice.BEGIN
        ended = self._lease.epoch
        if (verb, epoch) == ("taken", ended + 1) or (ours and (verb, epoch) == ("released", ended)):
            return Notice.END
        return Notice.LOOK if verb in {"draining", "released"} and not ours else None
