"""Decides what happens to an entry whose call failed. No I/O."""

from listeners.errors import Reject, Retry
from listeners.functions.entries import Entry, Outcome, Settlement
from listeners.functions.triggers import ListTrigger, PubSubTrigger, Trigger
from listeners.runtime.backoff import backoff_seconds
from listeners.text import describe_exception

__all__ = ["after_failure", "deliveries_exhausted", "lease_lapsed"]

#: The first retry waits about this long. The wait doubles with each delivery, up to LAST_RETRY_SECONDS.
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0
#: How much of an exception's text is kept, as it may be a whole document.
MAX_REASON_CHARACTERS = 1_000


def after_failure(trigger: Trigger, entry: Entry, error: BaseException, *, alone: bool, where: str = "") -> Settlement:
    """Return what happens to an entry after its call raised `error` at the line `where`.

    `alone`: the call had no other entry. An entry that can be retried and failed together with others is always retried
    alone, because only then is it known which one fails.
    """
    reason = describe_exception(error)[:MAX_REASON_CHARACTERS]
    if isinstance(trigger, PubSubTrigger):
        return Settlement(entry, Outcome.DROPPED, error=reason, where=where)
    at_most_once = isinstance(trigger, ListTrigger) and trigger.delivery == "at-most-once"
    is_final = isinstance(error, Reject) or entry.deliveries >= trigger.max_deliveries
    if at_most_once or (alone and is_final):
        return Settlement(entry, Outcome.DEAD_LETTERED, error=reason, where=where)
    if isinstance(error, Retry) and error.after_seconds is not None:
        delay_seconds = error.after_seconds
    else:
        delay_seconds = backoff_seconds(entry.deliveries, FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS) if alone else 0.0
    return Settlement(entry, Outcome.RETRIED, int(delay_seconds * 1000), reason, where)


def deliveries_exhausted(trigger: Trigger, entry: Entry) -> Settlement | None:
    """Return the dead-letter settlement of a poison entry; None for any other entry.

    A poison entry has exhausted its deliveries without a single call finishing: its function kills the process.
    """
    if isinstance(trigger, PubSubTrigger) or entry.deliveries <= trigger.max_deliveries:
        return None
    reason = f"delivered {entry.deliveries - 1} times and never finished: the process died or the lease expired"
    return Settlement(entry, Outcome.DEAD_LETTERED, error=reason)


def lease_lapsed(entry: Entry) -> Settlement:
    """Return the settlement of an entry whose lease expired before its call started."""
    return Settlement(entry, Outcome.LAPSED, error="its lease expired before its call started")
