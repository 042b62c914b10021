"""A lease in Redis, which expires by the server's clock."""

from listeners.errors import WrongTypeError
from listeners.keys import lease_draining_key, lease_epoch_key, lease_length_key, lease_notices_channel
from listeners.leases.lease import REDIS_STANDBY_SECONDS, Lease
from listeners.redis.client import Client
from listeners.redis.scripts import load_script
from listeners.runtime.clock import boot_seconds, lease_end

__all__ = ["RedisLease"]

#: How long after the holder's lease ends a standby tries again; the server counts in milliseconds.
AFTER_END_SECONDS = 0.002
SCRIPTS = ("acquire", "offer", "release", "take_over")


class RedisLease(Lease):
    """A lease in the same Redis as the function's channel.

    `holder` is the name of this instance. Redis ends the lease `ttl_seconds` after the last renewal that it received.
    This side counts from before it sent the renewal, so it always considers the lease ended before Redis does.

    If the server's clock steps back, leases of dead instances would last longer by as much. A standby that finds more
    time left than the holder ever asked for shortens the lease to that. A living holder renews it in time. If the clock
    steps forward, the lease ends early, and two instances may be subscribed until the old holder's next renewal.
    """

    def __init__(self, client: Client, key: str, holder: str, ttl_seconds: float) -> None:
        self.key = key
        self.holder = holder
        self.holder_drains = False
        self.retry_seconds = REDIS_STANDBY_SECONDS
        self.epoch = 0
        self._ttl_seconds = ttl_seconds
        self._ends_at = 0.0
        self._requested = False
        self._keys = [key, lease_epoch_key(key), lease_draining_key(key), lease_length_key(key)]
        self._arguments: list[str | int] = [holder, int(ttl_seconds * 1000), lease_notices_channel(key)]
        self._client = client
        self._scripts = {name: load_script("listeners.leases", name) for name in SCRIPTS}

    async def describe(self) -> str:
        """Return where the lease is. No check is needed, as the source has reached this Redis."""
        return "a lease in Redis"

    @property
    def held(self) -> bool:
        """Whether a call may start now."""
        return boot_seconds() < self._ends_at

    @property
    def remaining_seconds(self) -> float:
        """How long a call may still start, unless the lease is renewed."""
        return max(0.0, self._ends_at - boot_seconds())

    async def acquire(self) -> bool:
        """Acquire or renew the lease. If another instance holds it, set `holder_drains` to whether that one drains."""
        sent_at = boot_seconds()
        granted, detail, *drains = await self.run("acquire")
        if granted:
            self.granted(detail, sent_at)
            return True
        self._ends_at = 0.0
        self.holder_drains = drains == [1]
        self.retry_seconds = min(REDIS_STANDBY_SECONDS, max(detail, 0) / 1000 + AFTER_END_SECONDS)
        return False

    def granted(self, epoch: int, sent_at: float) -> None:
        """Record that Redis granted a request that was sent at `sent_at` (boot_seconds)."""
        self.epoch = epoch
        self._ends_at = max(self._ends_at, lease_end(sent_at, self._ttl_seconds))

    async def release(self) -> bool:
        """Release the lease and notify the standbys. Does nothing if the lease was not requested since."""
        self._ends_at = 0.0
        if not self._requested:
            return False
        released, *_ = await self.run("release")
        self._requested = False
        return bool(released)

    async def close(self) -> None:
        """Do nothing: the connection belongs to the source."""

    async def run(self, name: str) -> list[int]:
        """Run one of the lease's scripts and return its reply as a list of numbers."""
        self._requested = self._requested or name in {"acquire", "take_over"}
        try:
            reply = await self._client.run_script(
                self._scripts[name], self._keys, self._arguments, doing=f"lease {self.key!r}"
            )
        except WrongTypeError:
            raise WrongTypeError(
                f"lease {self.key!r}: this key or a related one ({', '.join(self._keys[1:])}) is of the wrong type, so "
                "no instance can subscribe. Delete it, or rename the app"
            ) from None
        return reply if isinstance(reply, list) else [reply]
