"""The Redis commands, keys and channels that a function's user must be allowed to use."""

from collections.abc import Iterator

from listeners.dead_letters.permissions import dead_letter_commands
from listeners.functions.app import Function
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, keys_read
from listeners.keys import check_key, derived_key_prefix, inflight_key
from listeners.lists.permissions import at_least_once_commands, at_most_once_commands, replaceable_commands
from listeners.pubsub.permissions import pubsub_permissions
from listeners.redis.acl import EVAL, SHA, Permissions, SampleCommand, escape_glob
from listeners.redis.server_info import ServerInfo
from listeners.streams.permissions import stream_commands

__all__ = ["clean_up_commands", "permissions_for"]


def permissions_for(function: Function, app_name: str, server: ServerInfo) -> Permissions:
    """Return what a function needs on this server."""
    trigger = function.trigger
    if isinstance(trigger, PubSubTrigger):
        return pubsub_permissions(trigger, app_name, function.name)
    read = keys_read(trigger, multi_pop=server.supports(7))
    host = [call for key in read for call in _host_calls(trigger, key)]
    more = [call for key in read for call in _measuring_calls(trigger, key, server)]
    more += [call for key in trigger.keys for call in dead_letter_commands(trigger, key)]
    more += [call for key in read for call in clean_up_commands(check_key(key))]
    if isinstance(trigger, ListTrigger):
        for key in read:
            more += replaceable_commands(trigger, key, several=len(read) > 1)
    patterns = [
        pattern for key in trigger.keys for pattern in (escape_glob(key), f"{escape_glob(derived_key_prefix(key))}*")
    ]
    return Permissions(tuple(host), tuple(more), tuple(patterns))


def clean_up_commands(key: str) -> tuple[SampleCommand, ...]:
    """Return the commands with which `triggerfish check` removes a key that it has made."""
    return ("DEL", key), ("PEXPIRE", key, "1")


def _host_calls(trigger: ListTrigger | StreamTrigger, key: str) -> Iterator[SampleCommand]:
    if isinstance(trigger, StreamTrigger):
        yield from stream_commands(trigger, key)
    elif trigger.delivery == "at-least-once":
        yield from at_least_once_commands(key)
    else:
        yield from at_most_once_commands(trigger, key)


def _measuring_calls(trigger: ListTrigger | StreamTrigger, key: str, server: ServerInfo) -> Iterator[SampleCommand]:
    if server.supports(6):
        yield from (("HELLO", "3"), ("CLIENT", "TRACKING", "ON"), ("EXISTS", key))
    if isinstance(trigger, ListTrigger):
        yield from (("MULTI",), ("EXEC",), ("LLEN", key), ("ZCARD", inflight_key(key)))
        return
    # A script is run by its digest, and sent to a server that has not cached it yet.
    if server.supports(7):
        yield from (("EVAL_RO", "return 1", "0"), ("EVALSHA_RO", SHA, "1", key))
    else:
        yield from (EVAL, ("EVALSHA", SHA, "1", key))
    if not server.supports(7, 4):  # scripts have no clock
        yield ("TIME",)
    yield from (("XLEN", key), ("XINFO", "GROUPS", key), ("XRANGE", key, "-", "+"))
