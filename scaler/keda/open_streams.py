"""Bounds what open streams keep in memory: gRPC keeps the request of a stream until it ends."""

import contextlib
from collections import Counter
from collections.abc import Iterator

from listeners.errors import LimitReachedError
from scaler.keda import externalscaler_pb2 as pb

__all__ = ["OpenStreams"]

#: The size of the requests of all open streams, and the part of one namespace. Each is in memory about four times.
MAX_BYTES = 8 * 1024 * 1024
MAX_NAMESPACE_BYTES = MAX_BYTES // 2


class OpenStreams:
    """Counts the bytes of the requests of open streams, by namespace."""

    def __init__(self) -> None:
        self._sizes: Counter[str] = Counter()
        self._size = 0

    @contextlib.contextmanager
    def opened(self, request: pb.ScaledObjectRef) -> Iterator[None]:
        """Count a stream in this block. Raises LimitReachedError if there is no room for it."""
        namespace, size = request.namespace, request.ByteSize()
        for kept, most in ((self._size, MAX_BYTES), (self._sizes[namespace], MAX_NAMESPACE_BYTES)):
            if kept + size > most:
                raise LimitReachedError(
                    "metadata",
                    None,
                    f"The open streams keep {kept} bytes of metadata, of at most {most}. Shorten the metadata of "
                    "triggers of type external-push, or use the type external.",
                )
        self._count(namespace, size)
        try:
            yield
        finally:
            self._count(namespace, -size)

    def _count(self, namespace: str, size: int) -> None:
        self._size += size
        self._sizes[namespace] += size
        if not self._sizes[namespace]:
            del self._sizes[namespace]
