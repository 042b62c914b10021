"""Which streams of a trigger Redis refuses to read, because of their type or the user's rights."""

import contextlib
from collections.abc import Iterator, Sequence

from listeners.errors import AccessDeniedError, GroupMissingError, SourceError, WrongTypeError
from listeners.streams.consumer import Consumer
from listeners.streams.reclaiming import Reclaiming
from listeners.streams.retries import Retries
from listeners.tracking.lookout import Lookout

__all__ = ["REFUSALS", "RefusedStreams"]

#: The errors of a stream that Redis refuses to read.
REFUSALS = (WrongTypeError, AccessDeniedError)


class RefusedStreams:
    """The streams of one trigger that Redis refuses to read. The others are read without them."""

    def __init__(
        self, keys: Sequence[str], consumer: Consumer, retries: Retries, reclaiming: Reclaiming, lookout: Lookout
    ) -> None:
        self._keys = keys
        self._consumer = consumer
        self._unreachable = consumer.unreachable
        self._retries = retries
        self._reclaiming = reclaiming
        self._lookout = lookout
        self._errors: dict[str, SourceError] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._errors

    def raise_error(self, key: str) -> None:
        """Raise the error of a stream that Redis refuses."""
        if key in self._errors:
            raise self._errors[key]

    def readable_keys(self) -> Sequence[str]:
        """Return the streams that can be read. If there is none, a read has to tell why."""
        keys = self._unreachable.without(self._keys)
        return ([key for key in keys if key not in self._errors] or keys) if self._errors else keys

    def clear(self) -> None:
        """Forget what Redis has refused."""
        self._errors.clear()

    @contextlib.contextmanager
    def noting(self, key: str) -> Iterator[None]:
        """Note whether Redis refuses one stream. Raise the error only if it refuses all of them."""
        try:
            yield
        except REFUSALS as error:
            self._errors[key] = error
            self._retries.forget(key)
            self._reclaiming.forget(key)
            if len(self._errors) == len(self._keys):
                raise
        else:
            if self._errors.pop(key, None):
                self._lookout.wake()

    async def find(self) -> None:
        """Find the streams that Redis refuses, so that the next step does without them. Raises SourceError."""
        self.clear()
        for key in self._unreachable.without(self._keys):
            with self.noting(key), self._unreachable.passing_over(key), contextlib.suppress(GroupMissingError):
                await self._consumer.pending(key, "-", "+", 1)
