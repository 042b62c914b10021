"""What an app's user must be allowed to do in Redis: commands, keys and channels, and the ACL rule that says so."""

from collections.abc import Iterator

from listeners.dead_letters.permissions import _dead_letter_calls
from listeners.functions.app import Function
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, keys_read
from listeners.keys import companion_key, inflight_key
from listeners.lists.permissions import _leased_calls, _plain_calls
from listeners.pubsub.permissions import _needs_of_channel
from listeners.redis.acl import Call, Needs, _escaped
from listeners.redis.server_info import Server
from listeners.streams.permissions import _stream_calls

__all__ = ["needs_of"]


def needs_of(function: Function, app: str, server: Server) -> Needs:
    """What a function needs of this server."""
    trigger = function.trigger
    if isinstance(trigger, PubSubTrigger):
        return _needs_of_channel(trigger, app, function.name)
    read = keys_read(trigger, multi_pop=server.has(7)) if isinstance(trigger, ListTrigger) else trigger.keys
    host = [call for key in read for call in _host_calls(trigger, key, server, several=len(read) > 1)]
    more = [call for key in read for call in _measuring_calls(trigger, key)]
    more += [call for key in trigger.keys for call in _dead_letter_calls(trigger, key)]
    patterns = [pattern for key in trigger.keys for pattern in (_escaped(key), f"{_escaped(companion_key(key, ''))}*")]
    return Needs(tuple(host), tuple(more), tuple(patterns))


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
