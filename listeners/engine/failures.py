"""Describes why a call failed, and logs failures: the first of an entry and the last with a traceback, in bounds."""

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

from pydantic import ValidationError

from listeners.engine.settlement import Failure, Outcome, Settlement
from listeners.errors import BatchError, Retry
from listeners.functions.conversion import MAX_DESCRIBED_ERRORS
from listeners.functions.triggers import PubSubTrigger, Trigger
from listeners.runtime.code_locations import raised_at, without_own_frames
from listeners.runtime.logs import steady_logger
from listeners.text import describe_exception

__all__ = ["FailureLog", "Reason", "failure_of", "short_description"]

log = steady_logger("triggerfish.host")

#: How much of an exception's text is kept, as it may be a whole document.
MAX_REASON_CHARACTERS = 1_000
MAX_TRACEBACK_CHARACTERS = 8_000
#: How many frames of each exception in a chain are kept, innermost first.
MAX_FRAMES = 30
#: How many exceptions are formatted in full: an exception, its causes, and the members of groups.
MAX_EXCEPTIONS = 20
#: How many causes and members are kept of an exception that is not formatted in full.
MAX_KEPT = 5
#: Failures of the same kind within this time are counted, and reported in one line at its end.
SUMMARY_SECONDS = 10.0
#: How many failures of each kind are logged in full within that time.
FULL_LINES = 5
#: How many kinds are counted separately.
MAX_KINDS = 50

#: How the log names what becomes of some entries of a batch.
OUTCOMES = {
    Outcome.RETRIED: "to be tried again",
    Outcome.DEAD_LETTERED: "dead-lettered",
    Outcome.DROPPED: "lost, as Redis does not keep messages",
}

Kind = tuple[str, str, Outcome, bool]


def failure_of(error: BaseException, handler: Callable[..., Any], where: str = "") -> Failure:
    """Describe what a call of the handler raised. `where` replaces the line at which it was raised.

    The exception loses our own frames. One that would make too long a text has a stand-in with the same name for the
    log and for error trackers.
    """
    where = where or raised_at(error, handler)
    error = without_own_frames(error)
    exception = error
    can_be_formatted = _can_be_formatted(error)
    text = _formatted(error) if can_be_formatted else ""
    has_text = bool(text) or error.__traceback__ is None
    if not can_be_formatted or not has_text or len(text) > MAX_TRACEBACK_CHARACTERS:
        exception = _stand_in(error, iter(range(MAX_KEPT)))
        text = _formatted(exception)
    if len(text) > MAX_TRACEBACK_CHARACTERS:
        text = _without_middle(text)
    return Failure(short_description(error), where, text, exception, requested=isinstance(error, Retry))


def short_description(error: BaseException) -> str:
    """Return an exception's class and text, at most MAX_REASON_CHARACTERS long."""
    if _has_many_errors(error):
        return f"ValidationError: {error.error_count()} validation errors for {error.title}"[:MAX_REASON_CHARACTERS]
    return describe_exception(error, MAX_REASON_CHARACTERS)


def _has_many_errors(error: BaseException) -> TypeGuard[ValidationError]:
    return isinstance(error, ValidationError) and error.error_count() > MAX_DESCRIBED_ERRORS


def _has_long_text(error: BaseException) -> bool:
    if _has_many_errors(error):
        return True
    try:
        return len(str(error)) > MAX_TRACEBACK_CHARACTERS
    except BaseException:  # noqa: BLE001  (a user's __str__ may raise anything, even SystemExit)
        return False


def _can_be_formatted(error: BaseException) -> bool:
    """Return whether an exception, its causes and its members have short texts. Formatting builds all of them."""
    seen: dict[int, BaseException] = {}
    unseen: list[BaseException | None] = [error]
    while unseen:
        one = unseen.pop()
        if one is None or id(one) in seen:
            continue
        if len(seen) == MAX_EXCEPTIONS or _has_long_text(one):
            return False
        seen[id(one)] = one
        unseen += (one.__cause__, one.__context__, *_members(one)[:MAX_EXCEPTIONS])
    return True


def _members(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions if isinstance(error, BaseExceptionGroup) else ()


def _formatted(error: BaseException) -> str:
    """Return the traceback with its chain; empty if none of it was raised in others' code."""
    if all(one is None or one.__traceback__ is None for one in (error, error.__cause__, error.__context__)):
        return ""
    try:
        text = "".join(traceback.format_exception(type(error), error, error.__traceback__, limit=-MAX_FRAMES))
    except BaseException:  # noqa: BLE001  (formatting calls the user's code)
        return ""
    return text


def _stand_in(error: BaseException, kept: Iterator[int]) -> BaseException:
    """Return an exception with the same name, a short text and the innermost frames. Its causes, and the members of a
    group, are like this too, and each takes one of `kept`.
    """
    text = short_description(error).removeprefix(type(error).__name__).removeprefix(": ")
    members = [_stand_in(member, kept) for member, _ in zip(_members(error), kept, strict=False)]
    # The text of a group has the number of all its members.
    namespace = {"__module__": type(error).__module__, "__str__": lambda _: text}
    stand_in: BaseException
    if members:
        stand_in = type(type(error).__name__, (BaseExceptionGroup,), namespace)(text, members)
    else:
        stand_in = type(type(error).__name__, (Exception,), namespace)(text)
    trace = error.__traceback__
    for _ in range(len(list(traceback.walk_tb(trace))) - MAX_FRAMES):
        trace = trace.tb_next if trace is not None else None
    stand_in.__traceback__ = trace
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and next(kept, None) is not None:
        stand_in.__cause__ = _stand_in(cause, kept)
    return stand_in


def _without_middle(text: str) -> str:
    half = MAX_TRACEBACK_CHARACTERS // 2
    return f"{text[:half]}\n... cut ...\n{text[-half:]}"


@dataclass(frozen=True, slots=True)
class Reason(Failure):
    """Why one entry of a batch failed of which others did not.

    There may be ten thousand, and formatting a traceback takes a millisecond: in_full() does it.
    """

    batch: BatchError | None = None
    #: How many entries the batch had.
    entries: int = 0
    handler: Callable[..., Any] | None = None

    @classmethod
    def of(cls, reason: BaseException, batch: BatchError, handler: Callable[..., Any], entries: int) -> "Reason":
        """Describe a reason that a batch gives."""
        return cls(
            short_description(reason),
            exception=reason,
            requested=isinstance(reason, Retry),
            batch=batch,
            entries=entries,
            handler=handler,
        )

    def in_full(self) -> Failure:
        if self.exception is None or self.batch is None or self.handler is None:
            return self
        # A reason that was never raised is found where the batch was.
        raised = self.exception if self.exception.__traceback__ is not None else self.batch
        return failure_of(self.exception, self.handler, raised_at(raised, self.handler))


class FailureLog:
    """Logs the failures of one function, one line for each call, also for a batch of which entries failed each for a
    reason of its own.

    The first failure of an entry and its dead letter are errors with a traceback. What is tried again is a warning, and
    information if the function asked for it. Of failures of the same kind, only the first few within SUMMARY_SECONDS
    are logged, and the others are counted.
    """

    def __init__(self, function_name: str, trigger: Trigger) -> None:
        self._function_name = function_name
        self._max_deliveries = 1 if isinstance(trigger, PubSubTrigger) else trigger.max_deliveries
        #: How many failures of each kind there were since the last summary.
        self._seen: dict[Kind, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def log(self, settlements: Iterable[Settlement]) -> None:
        """Log what failed among settled entries."""
        calls: dict[tuple[int, Outcome | None], list[Settlement]] = {}
        for settlement in settlements:
            if isinstance(settlement.failure, Reason):
                calls.setdefault((id(settlement.failure.batch), None), []).append(settlement)
            elif settlement.failure is not None:
                calls.setdefault((id(settlement.failure), settlement.outcome), []).append(settlement)
        for group in calls.values():
            self._log_call(group)

    def close(self) -> None:
        """Log the summary that is due, and nothing later."""
        if self._timer is not None:
            self._timer.cancel()
            self._summarize()

    def _log_call(self, settlements: list[Settlement]) -> None:
        first = max(settlements, key=_level)  # of the same level, the first
        failure = first.failure.in_full() if first.failure is not None else None
        if failure is None or self._is_repeated(failure, first.outcome):
            return
        if isinstance(first.failure, Reason):
            entries = f"{len(settlements)} of {first.failure.entries} entries in one call, from {first.entry.name}"
            what = self._tries(first) if len(settlements) == 1 else f"failed ({_outcomes(settlements)})"
        elif len(settlements) == 1:
            entries, what = first.entry.name, self._tries(first)
        else:
            entries = f"{len(settlements)} entries in one call, from {first.entry.name}"
            what = self._tries(first) if first.outcome is not Outcome.RETRIED else "failed; each is tried again alone"
        where = f" ({failure.where})" if failure.where else ""
        level = _level(first)
        error = failure.exception if level == logging.ERROR else None
        log.log(
            level,
            "%s: %s %s: %s%s",
            self._function_name,
            entries,
            what,
            failure.error,
            where,
            exc_info=(type(error), error, error.__traceback__) if error is not None else None,
        )

    def _tries(self, settlement: Settlement) -> str:
        calls = settlement.calls
        match settlement.outcome:
            case Outcome.RETRIED:
                tried = f"failed (try {calls} of {max(self._max_deliveries, calls)}"
                return f"{tried}, next in {settlement.delay_ms / 1000:.1f} s)"
            case Outcome.DEAD_LETTERED:
                return f"dead-lettered (try {calls} of {max(self._max_deliveries, calls)})"
            case Outcome.DROPPED:
                return "failed and is lost, as Redis does not keep messages"
            case _:
                return "not called"

    def _is_repeated(self, failure: Failure, outcome: Outcome) -> bool:
        """Count a failure. Return whether it is left to the summary."""
        kind = (failure.error.partition(":")[0], failure.where, outcome, failure.requested)
        if kind not in self._seen and len(self._seen) >= MAX_KINDS:
            kind = ("other failures", "", outcome, failure.requested)
        seen = self._seen[kind] = self._seen.get(kind, 0) + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SUMMARY_SECONDS, self._summarize)
        return seen > FULL_LINES

    def _summarize(self) -> None:
        seen, self._seen, self._timer = self._seen, {}, None
        for (error, where, outcome, requested), number in seen.items():
            if number > FULL_LINES:
                log.log(
                    logging.INFO if requested and outcome is Outcome.RETRIED else logging.WARNING,
                    "%s: %d more calls %s within %g s: %s%s",
                    self._function_name,
                    number - FULL_LINES,
                    outcome.value.replace("_", "-"),
                    SUMMARY_SECONDS,
                    error,
                    f" ({where})" if where else "",
                )


def _outcomes(settlements: Iterable[Settlement]) -> str:
    """Return how many entries have which outcome."""
    numbers = Counter(settlement.outcome for settlement in settlements)
    return ", ".join(f"{number} {OUTCOMES.get(outcome, outcome)}" for outcome, number in numbers.items())


def _level(settlement: Settlement) -> int:
    if settlement.outcome is Outcome.LAPSED:
        return logging.WARNING
    if settlement.outcome is not Outcome.RETRIED:
        return logging.ERROR
    if settlement.failure is not None and settlement.failure.requested:
        return logging.INFO
    # A call that ended with its process has logged nothing.
    is_repeated = settlement.entry.deliveries > 1 and not settlement.entry.died_alone
    return logging.WARNING if is_repeated else logging.ERROR
