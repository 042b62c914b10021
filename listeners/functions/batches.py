"""What a function that takes a list needs of its trigger. No I/O."""

from listeners.errors import BindingError
from listeners.functions.binding import Binding
from listeners.functions.triggers import MAX_BATCH_SIZE, ListTrigger, PubSubTrigger, Trigger

__all__ = ["check_batches"]


def check_batches(name: str, binding: Binding, trigger: Trigger) -> None:
    """Raise BindingError if a trigger's parameters do not fit a function that takes a list, or one that does not."""
    if isinstance(trigger, PubSubTrigger):
        return
    if not binding.batch:
        if trigger.batch_window_ms:
            fix = f"{name} takes one entry per call. Remove it, or annotate the parameter as a list: list[...]."
            raise BindingError("batch_window_ms", trigger.batch_window_ms, fix)
        return
    at_most_once = isinstance(trigger, ListTrigger) and trigger.delivery == "at-most-once"
    if trigger.max_deliveries == 1 and not at_most_once:
        fix = f"{name} takes a list, and entries of a failed batch are retried one by one. Give 2 or more."
        raise BindingError("max_deliveries", 1, fix)
    if trigger.concurrency is not None and trigger.concurrency * trigger.batch_size > MAX_BATCH_SIZE:
        fix = (
            f"{name} takes a list, so up to {trigger.concurrency} x {trigger.batch_size} entries are in progress "
            f"(concurrency x batch_size), and at most {MAX_BATCH_SIZE:,} may be. Lower one of them."
        )
        raise BindingError("concurrency", trigger.concurrency, fix)
