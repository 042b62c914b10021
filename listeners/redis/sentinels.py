"""Find the primary through Sentinels for each new connection (Redis's guidelines for Sentinel clients)."""

from collections.abc import Sequence

from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

__all__ = ["Sentinels"]

MAX_SHOWN_NAMES = 5
Address = tuple[str, int]


class Sentinels(Sentinel):
    """Asks the Sentinel that was right last time first, and one that was wrong last."""

    def __init__(self, clients: Sequence[Redis]) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        self.sentinels = list(clients)
        self._first = 0
        #: The last reported address, and the index of the Sentinel that reported it.
        self._answer: tuple[Address, int] | None = None

    async def discover_master(self, service_name: str) -> Address:
        """Return the address of the primary. Raises an error of redis-py if no Sentinel reports one.

        Replaces redis-py's method, which moves the Sentinel that answers to the front of a list over which concurrent
        callers are iterating.
        """
        errors: list[str] = []
        for index in [*range(self._first, len(self.sentinels)), *range(self._first)]:
            try:
                masters = await self.sentinels[index].sentinel_masters()
            except (RedisConnectionError, RedisTimeoutError) as error:
                errors.append(str(error))
                continue
            state = masters.get(service_name)
            if state and self.check_master_state(state, service_name):
                address: Address = (state["ip"], state["port"])
                self._first, self._answer = index, (address, index)
                return address
            if masters and not state:
                names = ", ".join(sorted(map(str, masters))[:MAX_SHOWN_NAMES])
                errors.append(f"a Sentinel monitors {names}: correct serviceName")
        raise MasterNotFoundError("; ".join([f"no Sentinel reports a primary for {service_name!r}", *errors]))

    def distrust(self, address: Address) -> None:
        """Ask the Sentinel that reported this address last, because no primary is there. Many connections may call this
        for one address.
        """
        if self._answer is not None and self._answer[0] == address:
            self._first = (self._answer[1] + 1) % len(self.sentinels)
            self._answer = None
