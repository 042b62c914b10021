"""Where the names of a library's queues can be read, to find misspelt ones. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass

from listeners.redis.acl import escape_glob
from listeners.text import shortened
from scaler.queues.celery import CeleryQueue
from scaler.queues.sidekiq import SidekiqQueue
from scaler.queues.trigger import QueueTrigger

__all__ = ["NameSource", "name_source", "unknown_queues"]

MAX_SHOWN = 20
MAX_NAME_CHARACTERS = 80
#: By the type: a set with the names of all queues, what comes before a name in it, and what comes before and after a
#: name in the names of keys. A library that keeps no such set has keys while a queue has jobs.
_SETS = {
    "RQQueue": ("{key_prefix}:queues", "{key_prefix}:queue:"),
    "AsynqQueue": ("asynq:queues", ""),
    "SidekiqQueue": ("{prefix}queues", ""),
}
_KEYS = {
    "BullMQQueue": ("{prefix}:", ":meta"),
    "BeeQueue": ("{prefix}:", ":id"),
    "SaqQueue": ("saq:", ":incomplete"),
    "DramatiqQueue": ("{namespace}:", ".msgs"),
    "LaravelQueue": ("{prefix}queues:", ""),
}
#: What follows the name of a queue in other keys of Laravel.
_LARAVEL_SUFFIXES = (":delayed", ":reserved", ":notify")


@dataclass(frozen=True)
class NameSource:
    """Where the names of queues are: in the set `members` after `before`; or else in the names of keys, between
    `before` and `after`. With a `separator`, these keys are sets of kombu's bindings, which end in the names of queues.
    """

    before: str
    after: str = ""
    members: str | None = None
    separator: str = ""

    @property
    def pattern(self) -> str:
        """The pattern of the keys."""
        return f"{escape_glob(self.before)}*{escape_glob(self.after)}"

    def name_in(self, text: str) -> str | None:
        """Return the name of a queue in the name of a key, or in a member of the set."""
        if not text.startswith(self.before) or not text.endswith(self.after):
            return None
        name = text[len(self.before) : len(text) - len(self.after)]
        return None if not name or name.endswith(_LARAVEL_SUFFIXES) else name


def name_source(trigger: QueueTrigger) -> NameSource | None:
    """Return where the names of queues can be read; None if nothing tells them from other keys."""
    names = {name: value for name, value in trigger if isinstance(value, str)}
    if isinstance(trigger, SidekiqQueue):
        names["prefix"] = trigger.prefix
    if isinstance(trigger, CeleryQueue):
        return NameSource(f"{trigger.global_keyprefix}_kombu.binding.", separator=trigger.sep)
    if (found := _SETS.get(trigger.type_name)) is not None:
        members, before = (text.format(**names) for text in found)
        return NameSource(before, members=members)
    if (found := _KEYS.get(trigger.type_name)) is not None:
        before, after = (text.format(**names) for text in found)
        return NameSource(before, after)
    return None


def unknown_queues(trigger: QueueTrigger, empty: Iterable[str], known: Iterable[str] | None) -> str | None:
    """Return a sentence about queues that are empty and whose names are not among the known ones; None if there are
    none. `known` is None if it could not be read.
    """
    names = sorted(set(known or ()))
    unknown = [queue for queue in empty if trigger.spelled(queue) not in names]
    if not unknown:
        return None
    what = f"no key of {trigger.software} queue {_listed(unknown)} exists"
    if known is None:
        return f"{what}: it has no jobs, or its name or an option is misspelt"
    if not names:
        return f"{what}, nor of any other queue: it has no jobs, or an option is wrong"
    return f"{what}. {trigger.software} has queues {_listed(names)} there"


def _listed(names: list[str]) -> str:
    """Return names as text of a bounded length, as a header of gRPC may have 16 kB."""
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(shortened(repr(name), MAX_NAME_CHARACTERS) for name in names[:MAX_SHOWN]) + more
