"""What an app's user must be allowed to do in Redis: commands, keys and channels, and the ACL rule that says so."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from listeners.app import Function
from listeners.companions import companion_key
from listeners.deadletters import dead_letters_key
from listeners.lease import lease_key, notice_channel
from listeners.server import Server
from listeners.taking import inflight_key, keys_read
from listeners.triggers import ListTrigger, PubSubTrigger, StreamTrigger

__all__ = ["NO_ACL", "Call", "Needs", "acl_line", "needs_of"]

#: A command with arguments that it could be run with.
Call = tuple[str, ...]

#: What is said where there is nothing to set.
NO_ACL = "has no ACL, which came with Redis 6.0: every user may do everything"

#: Commands whose first argument is a part of their name.
CONTAINERS = ("CLIENT", "CLUSTER", "PUBSUB", "XGROUP", "XINFO")
SHA = "0" * 40
#: A script is sent whole to a server that does not know it yet.
EVAL: Call = ("EVAL", "return 1", "0")
#: Every connection says who it is; `check` tries commands in a transaction that it discards.
CONNECTION: tuple[Call, ...] = (
    ("CLIENT", "SETNAME", "x"), ("INFO", "server"), ("PING",), ("MULTI",), ("EXEC",), ("DISCARD",),
)  # fmt: skip
#: Where a user gets a password that has to be replaced.
PASSWORD = "CHANGE-ME"  # noqa: S105  (it opens nothing)


@dataclass(frozen=True)
class Needs:
    """What one function needs. Without a call of `host` its trigger is not read; `more` is for measuring and for
    `triggerfish dead`. `keys` and `channels` are glob patterns.
    """

    host: tuple[Call, ...]
    more: tuple[Call, ...]
    keys: tuple[str, ...]
    channels: tuple[str, ...] = ()


def needs_of(function: Function, app: str, server: Server) -> Needs:
    """What a function needs of this server."""
    trigger = function.trigger
    if isinstance(trigger, PubSubTrigger):
        return _needs_of_channel(trigger, app, function.name)
    read = keys_read(trigger, server) if isinstance(trigger, ListTrigger) else trigger.keys
    host = [call for key in read for call in _host_calls(trigger, key, server, several=len(read) > 1)]
    more = [call for key in read for call in _measuring_calls(trigger, key)]
    more += [call for key in trigger.keys for call in _dead_letter_calls(trigger, key)]
    patterns = [pattern for key in trigger.keys for pattern in (_escaped(key), f"{_escaped(companion_key(key, ''))}*")]
    return Needs(tuple(host), tuple(more), tuple(patterns))


def acl_line(user: str | None, app: str, needs: Iterable[Needs], server: Server, *, database: int) -> str:
    """The command that lets `user`, or one with the app's name, do what is needed and nothing else.

    A user that exists keeps its password. Only for servers with ACL (Redis 6.0).
    """
    wanted = list(needs)
    calls = {call for need in wanted for call in (*need.host, *need.more)} | set(CONNECTION)
    if server.cluster:
        calls.add(("CLUSTER", "SLOTS"))
    commands = {_rule(call) for call in calls}
    if server.has(7, 2) or not server.has(7):  # 7.0 has no such command, and refuses the rule
        commands.add("client|setinfo")
    if database:
        commands.add("select")
    name = user or re.sub(r"[^\w.-]", "-", app)
    login = [] if user else ["on", f">{PASSWORD}"]
    keys = _unique(f"~{pattern}" for need in wanted for pattern in need.keys)
    channels = _unique(f"&{pattern}" for need in wanted for pattern in need.channels)
    reset = ["resetkeys", *(["resetchannels"] if server.has(6, 2) else []), "-@all"]
    rules = [*login, *reset, *(f"+{command}" for command in sorted(commands)), *keys]
    return " ".join(["ACL", "SETUSER", name, *rules, *(channels if server.has(6, 2) else [])])


def _host_calls(trigger: ListTrigger | StreamTrigger, key: str, server: Server, *, several: bool) -> Iterator[Call]:
    if isinstance(trigger, StreamTrigger):
        yield from _stream_calls(trigger, key)
        return
    yield from _leased_calls(key) if trigger.delivery == "at-least-once" else _plain_calls(trigger, key, several)
    if server.has(6, 2):
        end = "LEFT" if trigger.list_pop_from_beginning else "RIGHT"
        yield ("BLMOVE", key, key, end, end, "1")


def _measuring_calls(trigger: ListTrigger | StreamTrigger, key: str) -> Iterator[Call]:
    yield from (("MULTI",), ("EXEC",))
    if isinstance(trigger, StreamTrigger):
        yield from (("XINFO", "GROUPS", key), ("XINFO", "STREAM", key), ("XRANGE", key, "-", "+"))
    else:
        yield from (("LLEN", key), ("ZCARD", inflight_key(key)))


def _leased_calls(key: str) -> Iterator[Call]:
    """EVALSHA, and what the scripts run."""
    inflight, elements, dead = inflight_key(key), companion_key(key, "elements"), dead_letters_key(key)
    yield from (EVAL, ("EVALSHA", SHA, "4", key, inflight, elements, dead), ("TIME",))
    yield from (("LRANGE", key, "0", "0"), ("LTRIM", key, "0", "-1"))
    yield from (("HSET", elements, "f", "v"), ("HMGET", elements, "f"), ("HDEL", elements, "f"))
    yield ("HINCRBY", elements, "f", "1")
    yield from (("ZADD", inflight, "0", "m"), ("ZREM", inflight, "m"), ("ZRANGE", inflight, "0", "0"))
    yield ("ZRANGEBYSCORE", inflight, "0", "0")
    yield ("XADD", dead, "*", "f", "v")


def _plain_calls(trigger: ListTrigger, key: str, several: bool) -> Iterator[Call]:
    side = "L" if trigger.list_pop_from_beginning else "R"
    yield ("LMPOP", "1", key, "LEFT") if several else (f"{side}POP", key)
    yield (f"{side}PUSH", key, "v")
    yield ("XADD", dead_letters_key(key), "*", "f", "v")


def _stream_calls(trigger: StreamTrigger, key: str) -> Iterator[Call]:
    group, dead = trigger.consumer_group, dead_letters_key(key)
    yield from (EVAL, ("EVALSHA", SHA, "2", key, dead))
    yield from (("XGROUP", "CREATE", key, group, "0", "MKSTREAM"), ("XGROUP", "DELCONSUMER", key, group, "c"))
    yield ("XREADGROUP", "GROUP", group, "c", "COUNT", "1", "STREAMS", key, ">")
    yield from (("XACK", key, group, "0-1"), ("XCLAIM", key, group, "c", "0", "0-1"))
    yield from (("XPENDING", key, group, "-", "+", "1"), ("XINFO", "CONSUMERS", key, group), ("XRANGE", key, "-", "+"))
    yield ("XADD", dead, "*", "f", "v")
    if trigger.delete_after_process:
        yield from (("XDEL", key, "0-1"), ("MULTI",), ("EXEC",))


def _dead_letter_calls(trigger: ListTrigger | StreamTrigger, key: str) -> Iterator[Call]:
    """What `triggerfish dead` runs."""
    dead = dead_letters_key(key)
    yield from (EVAL, ("EVALSHA", SHA, "2", dead, key), ("XRANGE", dead, "-", "+"), ("XDEL", dead, "0-1"))
    if isinstance(trigger, StreamTrigger):
        yield ("XADD", key, "*", "f", "v")
    else:
        yield ("RPUSH" if trigger.list_pop_from_beginning else "LPUSH", key, "v")


def _needs_of_channel(trigger: PubSubTrigger, app: str, function: str) -> Needs:
    subscribe: Call = ("PSUBSCRIBE" if trigger.is_pattern else "SUBSCRIBE", trigger.channel)
    # Redis compares a pattern with the rule letter by letter, and a channel as the rule's glob has it.
    channel = _unspaced(trigger.channel) if trigger.is_pattern else _escaped(trigger.channel)
    if not trigger.singleton:
        return Needs((subscribe, ("PING",)), (), (), (channel,))
    lease = lease_key(app, function)
    epoch, notices = f"{lease}:epoch", notice_channel(lease)
    calls: tuple[Call, ...] = (
        subscribe, ("PING",), EVAL, ("EVALSHA", SHA, "2", lease, epoch), ("GET", lease), ("SET", lease, "v"),
        ("INCR", epoch), ("PEXPIRE", lease, "1"), ("PTTL", lease), ("DEL", lease), ("GET", epoch),
        ("SUBSCRIBE", notices), ("PUBLISH", notices, "v"), ("PUBSUB", "NUMSUB", notices),
        ("PUNSUBSCRIBE" if trigger.is_pattern else "UNSUBSCRIBE", trigger.channel),
    )  # fmt: skip
    return Needs(calls, (), (f"{_escaped(lease)}*",), (channel, _escaped(notices)))


def _rule(call: Call) -> str:
    return f"{call[0]}|{call[1]}".lower() if call[0] in CONTAINERS else call[0].lower()


def _escaped(name: str) -> str:
    """A glob pattern for exactly this name."""
    return _unspaced(re.sub(r"([*?\[\]\\])", r"\\\1", name))


def _unspaced(pattern: str) -> str:
    """A rule has no spaces, and quotes would end where it is typed: any character stands for them."""
    return re.sub(r"[\s\"'\x00-\x1f\x7f]", "?", pattern)


def _unique(patterns: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(patterns))
