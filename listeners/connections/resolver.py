"""Look up the addresses of host names."""

import asyncio
import ipaddress
import socket
from functools import partial

from listeners.runtime.threads import on_own_thread

__all__ = ["Resolver", "is_address"]

#: Lookups of one connection that may be pending concurrently, each of another name.
MAX_LOOKUPS = 4
#: The addresses of one name that are tried.
MAX_ADDRESSES = 8


class Resolver:
    """Looks up names for one connection, apart from all other work and from other connections.

    A lookup cannot be interrupted, and takes as long as the system waits for a DNS that does not answer. Its thread is
    shared by all callers that ask for the same name meanwhile.
    """

    def __init__(self) -> None:
        self._lookups: dict[str, asyncio.Task[list[str]]] = {}

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of a host; an address is its own. Raises OSError. The caller bounds the wait."""
        if is_address(host):
            return [host]
        lookup = self._lookups.get(host)
        if lookup is None:
            if len(self._lookups) >= MAX_LOOKUPS:
                raise OSError(f"{host} is not looked up while the lookups of {MAX_LOOKUPS} other names are pending")
            lookup = asyncio.create_task(_look_up(host), name=f"looking up {host}")
            self._lookups[host] = lookup
            lookup.add_done_callback(partial(self._forget, host))
        return await asyncio.shield(lookup)

    def _forget(self, host: str, lookup: "asyncio.Task[list[str]]") -> None:
        del self._lookups[host]
        if not lookup.cancelled():
            lookup.exception()  # asyncio logs it otherwise if no caller is waiting any longer


async def _look_up(host: str) -> list[str]:
    try:
        found = await on_own_thread(
            partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM), name=f"looking up {host}"
        )
    except (RuntimeError, UnicodeError) as error:  # no thread; a label of more than 63 characters
        raise OSError(f"{host} cannot be looked up: {error}") from None
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    if not addresses:
        raise OSError(f"{host} has no address")
    return addresses[:MAX_ADDRESSES]


def is_address(host: str) -> bool:
    """Return whether a host is an IP address, not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
