"""What becomes of the entries of a call that failed, as a whole or in part. No I/O."""

import dataclasses
from collections.abc import Sequence

from listeners.engine.failures import Reason, failure_of, short_description
from listeners.engine.retry_policy import after_failure
from listeners.engine.settlement import Settlement
from listeners.errors import BatchError, Reject, UnknownEntryError
from listeners.functions.app import Function
from listeners.functions.entries import Entry

__all__ = ["failed", "failed_in_part", "not_convertible", "too_large"]


def failed(function: Function, entries: Sequence[Entry], error: BaseException, where: str = "") -> list[Settlement]:
    """Return the settlements of the entries of a call that raised an error. `where` replaces its line."""
    failure = failure_of(error, function.handler, where)
    alone = len(entries) == 1
    return [after_failure(function.trigger, entry, error, failure, alone=alone) for entry in entries]


def failed_in_part(
    function: Function, entries: Sequence[Entry], error: BatchError
) -> tuple[list[Settlement], list[Entry]]:
    """Return the settlements of the entries that an error names, and the other entries, which succeeded.

    If it names an entry that the call did not have, all have failed, so that none is lost.
    """
    if problem := _problem(function, entries, error):
        mistake = UnknownEntryError(problem).with_traceback(error.__traceback__)
        mistake.__cause__ = error
        return failed(function, entries, mistake), []
    settlements = []
    for position, reason in error.failures.items():
        failure = Reason.of(reason, error, function.handler, len(entries))
        settlements.append(after_failure(function.trigger, entries[position], reason, failure, alone=True))
    return settlements, [entry for position, entry in enumerate(entries) if position not in error.failures]


def not_convertible(function: Function, entry: Entry, error: BaseException) -> Settlement:
    """Return the settlement of an entry that could not be converted, which counts as rejected."""
    reason = error if isinstance(error, Reject) else Reject(short_description(error))
    failure = dataclasses.replace(failure_of(error, function.handler), error=short_description(reason))
    return after_failure(function.trigger, entry, reason, failure, alone=True)


def too_large(size: int, limit: int) -> str:
    """Return why an entry of this size is not validated."""
    return (
        f"its {size:,} bytes are more than host.max_model_bytes ({limit:,}): annotate the parameter as bytes, "
        "or raise the setting"
    )


def _problem(function: Function, entries: Sequence[Entry], error: BatchError) -> str:
    """Return why an error does not fit its call; empty if it does."""
    if not function.binding.batch:
        return "a BatchError is for functions that take a list: raise the reason itself"
    last = max(error.failures)
    if last < len(entries):
        return ""
    return (
        f"a BatchError names entry {last}, and the batch has {len(entries)}, counted from 0: "
        "name entries by their position in the list that the function got"
    )
