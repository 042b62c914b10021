"""The protocol of a lease."""

from typing import Protocol

__all__ = ["KUBERNETES_STANDBY_SECONDS", "REDIS_STANDBY_SECONDS", "Lease"]

#: How often a standby tries to acquire a lease in Redis.
REDIS_STANDBY_SECONDS = 0.5
#: How often it reads one in Kubernetes: rarely enough for the API server, and within a second of a release.
KUBERNETES_STANDBY_SECONDS = 0.75


class Lease(Protocol):
    """One instance's right to subscribe for a function. Methods may raise SourceError; each ends within seconds."""

    #: The fencing token, which grows with every change of holder.
    epoch: int
    #: How long to wait before the next acquire() after one that returned False.
    retry_seconds: float

    @property
    def held(self) -> bool:
        """Whether a call may start now. Becomes False by itself if the lease is not renewed."""
        ...

    @property
    def remaining_seconds(self) -> float:
        """How long a call may still start, unless the lease is renewed."""
        ...

    async def acquire(self) -> bool:
        """Acquire or renew the lease. Return whether it is held. If this raises, a held lease runs until it expires."""
        ...

    async def release(self) -> bool:
        """Release the lease if held, so that another instance need not wait for its end. Return whether it was held.

        Does nothing if the lease was never requested.
        """
        ...

    async def close(self) -> None:
        """Disconnect. Never raises SourceError."""
        ...

    async def describe(self) -> str:
        """Check that the lease can be reached, without changing it, and return where it is."""
        ...
