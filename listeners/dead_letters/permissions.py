"""The Redis commands that write, read and count dead letters, as samples to derive permissions from."""

from collections.abc import Iterator

from listeners.functions.triggers import ListTrigger, StreamTrigger
from listeners.keys import dead_letters_key
from listeners.redis.acl import EVAL, SHA, SampleCommand

__all__ = ["add_commands", "dead_letter_commands"]


def add_commands(key: str) -> Iterator[SampleCommand]:
    """Yield the commands that add.lua cannot do without."""
    dead = dead_letters_key(key)
    yield from (("XADD", dead, "*", "f", "v"), ("XTRIM", dead, "MAXLEN", "1"), ("XLEN", dead))


def dead_letter_commands(trigger: ListTrigger | StreamTrigger, key: str) -> Iterator[SampleCommand]:
    """Yield the commands that count, list, requeue and purge the dead letters of a key, and that bound their bytes."""
    dead = dead_letters_key(key)
    yield from (EVAL, ("EVALSHA", SHA, "2", dead, key), ("MULTI",), ("EXEC",))
    yield from (("XLEN", dead), ("XRANGE", dead, "-", "+"), ("XREVRANGE", dead, "+", "-"), ("XDEL", dead, "0-1"))
    yield ("MEMORY", "USAGE", dead)
    if isinstance(trigger, StreamTrigger):
        yield ("XADD", key, "*", "f", "v")
    else:
        yield ("RPUSH" if trigger.list_pop_from_beginning else "LPUSH", key, "v")
