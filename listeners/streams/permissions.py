"""The Redis commands that stream triggers run, as samples to derive permissions from."""

from collections.abc import Iterator

from listeners.dead_letters.permissions import add_commands
from listeners.functions.triggers import StreamTrigger
from listeners.keys import dead_letters_key
from listeners.redis.acl import EVAL, SHA, SampleCommand

__all__ = ["stream_commands"]


def stream_commands(trigger: StreamTrigger, key: str) -> Iterator[SampleCommand]:
    """Yield the commands that create the group, read, claim, settle and dead-letter, and those in the scripts."""
    group, dead = trigger.consumer_group, dead_letters_key(key)
    yield from (EVAL, ("EVALSHA", SHA, "2", key, dead))
    yield from (("XGROUP", "CREATE", key, group, "0", "MKSTREAM"), ("XGROUP", "DELCONSUMER", key, group, "c"))
    yield ("XREADGROUP", "GROUP", group, "c", "COUNT", "1", "STREAMS", key, ">")
    yield from (("XACK", key, group, "0-1"), ("XCLAIM", key, group, "c", "0", "0-1"))
    yield from (("XPENDING", key, group, "-", "+", "1"), ("XINFO", "CONSUMERS", key, group), ("XRANGE", key, "-", "+"))
    yield from (("MULTI",), ("EXEC",), *add_commands(key))
    if trigger.delete_after_process:
        yield ("XDEL", key, "0-1")
