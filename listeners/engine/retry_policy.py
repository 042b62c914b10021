"""Decides what becomes of an entry whose call failed. No I/O."""

from listeners.errors import Reject, Retry
from listeners.functions.entries import Entry, Outcome, Settlement
from listeners.functions.triggers import ListTrigger, PubSubTrigger, Trigger
from listeners.runtime.backoff import backoff_seconds

__all__ = ["after_failure", "deliveries_exhausted", "describe_exception", "lease_lapsed"]

#: The first retry waits about this long, each further one twice as long as the one before, up to the last figure.
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0
#: What is kept of an exception's text: it may be a whole document.
MAX_REASON_CHARACTERS = 1_000


def after_failure(trigger: Trigger, entry: Entry, error: BaseException, *, alone: bool, where: str = "") -> Settlement:
    """What becomes of an entry after its call raised `error`, in the line `where`.

    `alone`: the call had no other entry. One that failed in company is always tried again, alone: only then is it
    known to be the one that fails.
    """
    reason = describe_exception(error)
    if isinstance(trigger, PubSubTrigger):
        return Settlement(entry, Outcome.DROPPED, error=reason, where=where)
    at_most_once = isinstance(trigger, ListTrigger) and trigger.delivery == "at-most-once"
    given_up = isinstance(error, Reject) or entry.deliveries >= trigger.max_deliveries
    if at_most_once or (alone and given_up):
        return Settlement(entry, Outcome.DEAD_LETTERED, error=reason, where=where)
    if isinstance(error, Retry) and error.after_seconds is not None:
        delay_seconds = error.after_seconds
    else:
        delay_seconds = backoff_seconds(entry.deliveries, FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS) if alone else 0.0
    return Settlement(entry, Outcome.RETRIED, int(delay_seconds * 1000), reason, where)


def deliveries_exhausted(trigger: Trigger, entry: Entry) -> Settlement | None:
    """The end of an entry that was delivered too often without any call ending: its function kills the process."""
    if isinstance(trigger, PubSubTrigger) or entry.deliveries <= trigger.max_deliveries:
        return None
    reason = f"delivered {entry.deliveries - 1} times and never finished: the process died or the lease ran out"
    return Settlement(entry, Outcome.DEAD_LETTERED, error=reason)


def lease_lapsed(entry: Entry) -> Settlement:
    """The end of an entry here whose lease ran out before its call began."""
    return Settlement(entry, Outcome.LAPSED, error="its lease ran out before its call began")


def describe_exception(error: BaseException) -> str:
    """An exception as its class and its text, at most MAX_REASON_CHARACTERS."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  (a user's exception may fail even at this)
        text = ""
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__)[:MAX_REASON_CHARACTERS]
