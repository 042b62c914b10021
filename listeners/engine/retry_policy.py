"""Decides what happens to an entry whose call failed, or whose process died. No I/O."""

from listeners.engine.settlement import Failure, Outcome, Settlement
from listeners.errors import Reject, Retry
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger, PubSubTrigger, Trigger
from listeners.runtime.backoff import backoff_seconds

__all__ = ["after_failure", "died_too_often", "lease_lapsed"]

#: The first retry waits about this long. The wait doubles with each delivery, up to LAST_RETRY_SECONDS.
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0


def after_failure(trigger: Trigger, entry: Entry, error: BaseException, failure: Failure, *, alone: bool) -> Settlement:
    """Return what happens to an entry after its call raised `error`, which `failure` describes.

    `alone`: the call had no other entry. An entry that can be retried and failed together with others is always retried
    alone, because only then is it known which one fails.
    """
    if isinstance(trigger, PubSubTrigger):
        return Settlement(entry, Outcome.DROPPED, failure=failure)
    at_most_once = isinstance(trigger, ListTrigger) and trigger.delivery == "at-most-once"
    is_final = isinstance(error, Reject) or entry.deliveries >= trigger.max_deliveries
    if at_most_once or (alone and is_final):
        return Settlement(entry, Outcome.DEAD_LETTERED, failure=failure)
    if isinstance(error, Retry) and error.after_seconds is not None:
        delay_seconds = error.after_seconds
    else:
        delay_seconds = backoff_seconds(entry.deliveries, FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS) if alone else 0.0
    return Settlement(entry, Outcome.RETRIED, int(delay_seconds * 1000), failure)


def died_too_often(trigger: Trigger, suspect: Entry) -> Settlement | None:
    """Return the dead-letter settlement of a suspect that may not be called again; None if it may.

    Its last call was the only one in its process when the process died, and it was the last that the trigger allows. An
    entry whose calls are not known to have begun is never dead-lettered.
    """
    if isinstance(trigger, PubSubTrigger) or not suspect.died_alone or suspect.deliveries <= trigger.max_deliveries:
        return None
    calls = suspect.deliveries - 1
    reason = f"called {calls} times, the last time alone in its process, which died or hung during the call"
    return Settlement(suspect, Outcome.DEAD_LETTERED, failure=Failure(reason), called=False)


def lease_lapsed(entry: Entry) -> Settlement:
    """Return the settlement of an entry whose lease expired before its call started."""
    return Settlement(entry, Outcome.LAPSED, failure=Failure("its lease expired before its call started"), called=False)
