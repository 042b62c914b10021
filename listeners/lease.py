"""A lease in Redis: at most one holder at a time, by the server's clock."""

import time

from listeners.client import Client, Script

__all__ = ["Lease", "boot_seconds", "is_lease_key", "lease_key"]

#: The holder stops this part of the lease before its end, for what is already on its way to a function.
MARGIN = 0.1


def boot_seconds() -> float:
    """Seconds on a clock that also runs while the machine is suspended, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def lease_key(app: str, function: str) -> str:
    """The key of the lease of an app's pub/sub function; every instance of the app computes the same."""
    return f"triggerfish:{{{app}:{function}}}:lease"


def is_lease_key(key: str) -> bool:
    """Whether a key is the lease of some function, or its epoch."""
    return key.startswith("triggerfish:{") and key.endswith((":lease", ":lease:epoch"))


class Lease:
    """The right to subscribe for one function.

    `holder` names this instance. `ttl_seconds`: the lease ends so long after the last renewal that Redis saw; this
    side counts from before it sent the renewal, so it always believes the lease to end earlier than Redis does.
    """

    def __init__(self, client: Client, key: str, holder: str, ttl_seconds: float) -> None:
        self._key = key
        self._holder = holder
        self._ttl_seconds = ttl_seconds
        self._ends_at = 0.0
        self.epoch = 0
        self._client = client
        self._acquire = Script("lease_acquire")
        self._release = Script("lease_release")

    @property
    def held(self) -> bool:
        """Whether a call may be started now."""
        return boot_seconds() < self._ends_at

    async def acquire(self) -> bool:
        """Acquire the lease, or renew it. Raises SourceError; the lease then runs on to its end."""
        sent_at = boot_seconds()
        granted, detail = await self._client.evaluate(
            self._acquire,
            [self._key, f"{self._key}:epoch"],
            [self._holder, int(self._ttl_seconds * 1000)],
            doing=f"acquiring lease {self._key!r}",
        )
        if not granted:
            self._ends_at = 0.0
            return False
        self.epoch = detail
        self._ends_at = sent_at + self._ttl_seconds * (1 - MARGIN)
        return True

    async def release(self) -> None:
        """End the lease now, if it is ours, so that another instance need not wait for its end."""
        self._ends_at = 0.0
        await self._client.evaluate(self._release, [self._key], [self._holder], doing=f"releasing lease {self._key!r}")
