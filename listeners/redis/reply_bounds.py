"""Which replies are refused before they take memory: huge arrays, and too much from a server that is not trusted."""

import re
from weakref import WeakKeyDictionary

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

__all__ = ["MAX_UNTRUSTED_BYTES", "ArrayBound", "ReplyBudget"]

#: The memory that the replies of a server may take which a ScaledObject names, over all its connections.
MAX_UNTRUSTED_BYTES = 1024 * 1024
#: What a part of a reply, and an error among them, may take beyond its own bytes.
PART_BYTES, ERROR_BYTES = 64, 512
#: The header of an array, set, map or push of 100,000 elements or more.
HUGE_ARRAY = re.compile(rb"(?:^|\n)[*~%>|]\d{6}")
#: The longest end of a part of a reply that may be the beginning of such a header.
HEADER_BYTES = 7


class ArrayBound:
    """Refuses arrays of 100,000 elements or more on one connection.

    hiredis takes the memory for all elements when it reads the header, and to free it takes seconds.
    """

    def __init__(self) -> None:
        #: The last bytes that were received.
        self.end = b"\n"

    def check(self, received: bytes) -> None:
        """Check what was received next. Raises an error of redis-py."""
        examined = self.end + received
        if HUGE_ARRAY.search(examined):
            raise RedisConnectionError("the reply has an array of 100,000 elements or more")
        self.end = examined[-HEADER_BYTES:]


class ReplyBudget:
    """Bounds the memory of replies from a server that is not trusted, from a command until the next one on the same
    connection.
    """

    def __init__(self) -> None:
        self._bytes: WeakKeyDictionary[AbstractConnection, int] = WeakKeyDictionary()
        self._arrays: WeakKeyDictionary[AbstractConnection, ArrayBound] = WeakKeyDictionary()

    def begin(self, connection: AbstractConnection) -> None:
        """Forget the replies of a connection, because it is sending a command or has been closed."""
        self._bytes.pop(connection, None)
        self._arrays.pop(connection, None)

    def add(self, connection: AbstractConnection, received: bytes) -> None:
        """Count what a connection received. Raises an error of redis-py if it is too much."""
        arrays = self._arrays.get(connection)
        if arrays is None:
            arrays = self._arrays[connection] = ArrayBound()
        errors = (arrays.end[-1:] + received).count(b"\n-")
        arrays.check(received)
        parts = sum(map(received.count, (b"*", b"$", b":")))
        size = len(received) + PART_BYTES * parts + ERROR_BYTES * errors
        self._bytes[connection] = self._bytes.get(connection, 0) + size
        if sum(self._bytes.values()) > MAX_UNTRUSTED_BYTES:
            raise RedisConnectionError(f"the replies take more than {MAX_UNTRUSTED_BYTES} bytes of memory")
