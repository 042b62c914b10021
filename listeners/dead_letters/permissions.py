"""The Redis commands that `triggerfish dead` runs, as samples to derive permissions from."""

from collections.abc import Iterator

from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import dead_letters_key
from listeners.redis.acl import EVAL, SHA, SampleCommand

__all__ = ["dead_letter_commands"]


def dead_letter_commands(trigger: ListTrigger | StreamTrigger, key: str) -> Iterator[SampleCommand]:
    """Yield the commands that list, requeue and purge the dead letters of a key."""
    dead = dead_letters_key(key)
    yield from (EVAL, ("EVALSHA", SHA, "2", dead, key), ("XRANGE", dead, "-", "+"), ("XDEL", dead, "0-1"))
    if isinstance(trigger, StreamTrigger):
        yield ("XADD", key, "*", "f", "v")
    else:
        yield ("RPUSH" if trigger.list_pop_from_beginning else "LPUSH", key, "v")
