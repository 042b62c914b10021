"""Which keys of a trigger cannot be reached, because their node in a cluster is down."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from listeners.errors import SourceError, SourceTimeoutError, SourceUnavailableError
from listeners.redis.client import Client

__all__ = ["UnreachableKeys"]


class UnreachableKeys:
    """The keys of one trigger whose node in a cluster does not answer. They are left out until it does.

    `on_return` is called when a key that was left out can be reached again.

    Nothing is left out if no other key can be reached, so that the error is reported, nor without a cluster.
    """

    def __init__(self, client: Client, keys: Sequence[str], on_return: Callable[[], object]) -> None:
        self._client = client
        self._keys = frozenset(keys)
        self._on_return = on_return
        self._errors: dict[str, SourceError] = {}
        #: Set when a key turns out to be unreachable. Cleared by what probes for its return.
        self.found = asyncio.Event()

    @property
    def leaves_any_out(self) -> bool:
        """Whether to do without some keys."""
        return 0 < len(self._errors) < len(self._keys)

    def leaves_out(self, key: str) -> bool:
        """Return whether to do without a key, as others can be reached."""
        return self.leaves_any_out and key in self._errors

    def without(self, keys: Sequence[str]) -> Sequence[str]:
        """Return the keys that are not left out."""
        return [key for key in keys if not self.leaves_out(key)] if self.leaves_any_out else keys

    def answered(self, *keys: str) -> None:
        """Note that the node of these keys has answered."""
        returned = False
        for key in keys if self._errors else ():
            returned |= self._errors.pop(key, None) is not None
        if returned:
            self._on_return()

    def failed(self, error: SourceError, *keys: str) -> None:
        """Note the error of a command on these keys, which are in one slot. A refusal is an answer."""
        if not isinstance(error, SourceUnavailableError | SourceTimeoutError):
            self.answered(*keys)
        elif self._client.is_cluster:
            self._note(keys, error)

    @contextmanager
    def probing(self, *keys: str) -> Iterator[None]:
        """Note whether the node of these keys answers, which are in one slot."""
        try:
            yield
        except SourceError as error:
            self.failed(error, *keys)
            raise
        else:
            self.answered(*keys)

    @contextmanager
    def reaching(self, key: str) -> Iterator[None]:
        """Raise the error of a key that is left out at once, instead of waiting for its node again."""
        if self.leaves_out(key):
            raise _copy(self._errors[key])
        with self.probing(key):
            yield

    @contextmanager
    def passing_over(self, *keys: str) -> Iterator[None]:
        """Suppress that the node of these keys is down if they are left out from now on; the probes report it.

        A timeout is raised even so, as a command that asks for too much causes it as well.
        """
        try:
            with self.probing(*keys):
                yield
        except SourceUnavailableError:
            if not self.leaves_out(keys[0]):
                raise

    def _note(self, keys: Sequence[str], error: SourceError) -> None:
        if isinstance(error, SourceTimeoutError):  # the node's other keys would cost a timeout each
            nodes = {self._client.primary_of(key) for key in keys}
            keys = [key for key in self._keys if key in keys or self._client.primary_of(key) in nodes]
        self._errors.update((key, _copy(error)) for key in keys)
        self.found.set()


def _copy(error: SourceError) -> SourceError:
    """Return an error without a traceback, which would grow each time it is raised."""
    return type(error)(*error.args)
