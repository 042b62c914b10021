"""Asks Sentinels where the primary is, each time a connection is made (Redis's guidelines for Sentinel clients)."""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = ["Sentinels"]

Address = tuple[str, int]


class Sentinels(Sentinel):
    """Asks first the Sentinel that was right last time, and last the one that was wrong."""

    def __init__(self, known: Sequence[Redis]) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        self.sentinels = list(known)
        self._first = 0
        #: What was answered last, and by which of them.
        self._answer: tuple[Address, int] | None = None

    async def discover_master(self, service_name: str) -> Address:
        """The address of the primary. Raises an error of redis-py if no Sentinel tells one.

        Not redis-py's own, which moves the one that answers to the front of a list that others are looking through.
        """
        silent: list[str] = []
        for at in [*range(self._first, len(self.sentinels)), *range(self._first)]:
            try:
                masters = await self.sentinels[at].sentinel_masters()
            except (RedisConnectionError, RedisTimeoutError) as error:
                silent.append(str(error))
                continue
            state = masters.get(service_name)
            if state and self.check_master_state(state, service_name):
                address: Address = (state["ip"], state["port"])
                self._first, self._answer = at, (address, at)
                return address
        raise MasterNotFoundError("; ".join([f"no Sentinel knows a primary of {service_name!r}", *silent]))

    def distrust(self, address: Address) -> None:
        """No primary is at this address: whoever said so is asked last. Many connections may find that out at once."""
        if self._answer is not None and self._answer[0] == address:
            self._first = (self._answer[1] + 1) % len(self.sentinels)
            self._answer = None
