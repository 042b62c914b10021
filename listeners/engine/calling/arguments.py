"""What a function is called with: its entries, converted."""

from collections.abc import Callable, Sequence
from typing import Any

from listeners.engine.calling.outcomes import not_convertible, too_large
from listeners.engine.in_progress import InProgress
from listeners.engine.retry_policy import lease_lapsed
from listeners.engine.settlement import Settlement
from listeners.errors import Reject
from listeners.functions.app import Function
from listeners.functions.entries import Entry

__all__ = ["Arguments"]


class Arguments:
    """Converts the entries for which `may_start` is true. `results` receives what becomes of the others.

    An entry of more than `max_model_bytes` is not validated.
    """

    def __init__(
        self, function: Function, *, max_model_bytes: int, may_start: Callable[[Entry], bool], results: InProgress
    ) -> None:
        self._function = function
        self._convert = function.binding.convert
        self._max_bytes = max_model_bytes if function.binding.validates else None
        self._may_start = may_start
        self._results = results

    def of(self, entries: Sequence[Entry]) -> tuple[Sequence[Entry], list[Any]]:
        """Return the entries that a call begins with, and what the function gets for each. Others fail alone."""
        arguments: list[Any] = []
        excluded: dict[Entry, Settlement] = {}
        for entry in entries:
            if not self._may_start(entry):
                excluded[entry] = lease_lapsed(entry)
                continue
            try:
                if self._max_bytes is not None:
                    self._check_size(entry, self._max_bytes)
                arguments.append(self._convert(entry))
            except BaseException as error:  # noqa: BLE001  (a user's validator may raise anything, even SystemExit)
                excluded[entry] = not_convertible(self._function, entry, error)
        if excluded:
            self._results.finish(list(excluded.values()))
            entries = [entry for entry in entries if entry not in excluded]
        return entries, arguments

    def _check_size(self, entry: Entry, limit: int) -> None:
        if (size := self._results.size_of(entry)) > limit:
            raise Reject(too_large(size, limit))
