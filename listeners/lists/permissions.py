"""The Redis commands that list triggers run, as samples to derive permissions from."""

from collections.abc import Iterator

from listeners.dead_letters.permissions import add_commands
from listeners.functions.triggers import ListTrigger
from listeners.keys import dead_letters_key, elements_key, inflight_key
from listeners.redis.acl import EVAL, SHA, SampleCommand

__all__ = ["at_least_once_commands", "at_most_once_commands", "replaceable_commands"]


def at_least_once_commands(key: str) -> Iterator[SampleCommand]:
    """Yield EVALSHA and the commands that the scripts run."""
    inflight, elements, dead = inflight_key(key), elements_key(key), dead_letters_key(key)
    yield from (EVAL, ("EVALSHA", SHA, "4", key, inflight, elements, dead), ("TIME",))
    yield from (("LRANGE", key, "0", "0"), ("LTRIM", key, "0", "-1"))
    yield from (("HSET", elements, "f", "v"), ("HMGET", elements, "f"), ("HDEL", elements, "f"))
    yield from (("ZADD", inflight, "0", "m"), ("ZREM", inflight, "m"), ("ZSCORE", inflight, "m"))
    yield from (("ZRANGE", inflight, "0", "0"), ("ZRANGEBYSCORE", inflight, "0", "0"), ("ZSCAN", inflight, "0"))
    yield from add_commands(key)


def at_most_once_commands(trigger: ListTrigger, key: str) -> Iterator[SampleCommand]:
    """Yield the commands that pop, push back and dead-letter."""
    side = "L" if trigger.list_pop_from_beginning else "R"
    yield from ((f"{side}POP", key), (f"{side}PUSH", key, "v"))
    yield from (EVAL, ("EVALSHA", SHA, "1", dead_letters_key(key)), *add_commands(key))


def replaceable_commands(trigger: ListTrigger, key: str, *, several: bool) -> Iterator[SampleCommand]:
    """Yield the commands without which the host reads lists in another way. `several`: the trigger has several keys."""
    if several and trigger.delivery == "at-most-once":
        yield ("LMPOP", "1", key, "LEFT" if trigger.list_pop_from_beginning else "RIGHT")
