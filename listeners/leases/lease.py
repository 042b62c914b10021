"""Lease: moved out of another file; say what belongs here."""

from typing import Protocol

__all__ = ["Lease"]


class Lease(Protocol):
    """The right to subscribe for one function. Methods may raise SourceError; each ends within seconds."""

    #: The fencing token: it grows with every change of holder.
    epoch: int
    #: How long to wait before the next acquire() if the last one failed.
    retry_seconds: float

    @property
    def held(self) -> bool:
        """Whether a call may be started now. Ends by itself if the lease is not renewed."""
        ...

    async def acquire(self) -> bool:
        """Acquire the lease, or renew it; whether it is ours now. If it raises, the lease runs on to its end."""
        ...

    async def release(self) -> bool:
        """End the lease now, if it is ours, so that another instance need not wait for its end; whether it was."""
        ...

    async def close(self) -> None:
        """Disconnect. Never raises SourceError."""
        ...

    async def describe(self) -> str:
        """Look whether it can be reached, change nothing, and say where it is."""
        ...
