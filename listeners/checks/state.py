"""Look at the keys that an app uses, and at the server's role, for what makes its commands fail. Read-only."""

from collections.abc import Iterable, Iterator

from listeners.errors import AccessDeniedError, CommandRefusedError, WrongTypeError
from listeners.functions.app import Function
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger
from listeners.keys import (
    dead_letters_key,
    elements_key,
    inflight_key,
    lease_draining_key,
    lease_epoch_key,
    lease_key,
    lease_length_key,
)
from listeners.redis.client import Client
from listeners.redis.error_translation import translated
from listeners.text import decode

__all__ = ["contradictory_types", "group_warnings", "replica_problem", "wrong_types"]

#: A key, the type that it must have, and a command that fails if it has another.
_Look = tuple[str, str, tuple[str, ...]]


async def wrong_types(client: Client, function: Function, app_name: str, *, redis_lease: bool) -> list[str]:
    """Return a problem, with its fix, for each key of the function that has another type. Raises SourceError."""
    trigger, problems = function.trigger, list[str]()
    own = trigger.keys if not isinstance(trigger, PubSubTrigger) else ()
    for key, expected, command in _looks(function, app_name, redis_lease=redis_lease):
        try:
            await client.command(key, *command, doing=f"reading {key!r}")
        except WrongTypeError:
            fix = "Delete or rename the key, or change the trigger" if key in own else "Delete or rename the key"
            problems.append(f"key {key!r} holds another type than {expected}: {fix}")
        except (AccessDeniedError, CommandRefusedError):
            continue  # denied commands are reported elsewhere
    return problems


def contradictory_types(function: Function, others: Iterable[Function], app_name: str) -> list[str]:
    """Return a problem, with its fix, for each other function on the same Redis that uses a key with another type."""
    own = {key: expected for key, expected, _ in _looks(function, app_name, redis_lease=True)}
    problems: list[str] = []
    for other in others:
        for key, expected, _ in _looks(other, app_name, redis_lease=True):
            if own.get(key, expected) != expected:
                problems.append(
                    f"key {key!r} would have to be {own[key]}, and for {other.name} {expected}: change one of the "
                    "triggers"
                )
    return problems


async def replica_problem(client: Client, function: Function, *, redis_lease: bool) -> str:
    """Return why the trigger cannot be read from this server, if it is a replica and the trigger writes; else ""."""
    if client.is_cluster or (isinstance(function.trigger, PubSubTrigger) and not redis_lease):
        return ""
    try:
        with translated("INFO replication"):
            info = await client.first_node.info("replication")
    except (AccessDeniedError, CommandRefusedError):
        return ""
    if info.get("role") != "slave":
        return ""
    return (
        f"the server is a replica of {info.get('master_host')}:{info.get('master_port')}, and reading writes. Give the "
        "address of the primary, or those of Sentinels with serviceName=..."
    )


async def group_warnings(client: Client, trigger: StreamTrigger) -> list[str]:
    """Return a warning for each stream that has entries and no group, which get all of them. Raises SourceError."""
    warnings: list[str] = []
    for key in trigger.keys:
        try:
            length = await client.command(key, "XLEN", key, doing=f"reading {key!r}")
            rows = await client.command(key, "XINFO", "GROUPS", key, doing=f"reading {key!r}") if length else []
        except (AccessDeniedError, CommandRefusedError, WrongTypeError):
            continue
        groups = {decode(row[1]) for row in rows}
        if length and trigger.consumer_group not in groups:
            warnings.append(
                f"stream {key!r} has {length} entries and no group {trigger.consumer_group!r}: the app will create it "
                f"and receive them all. To receive only new ones: XGROUP CREATE {key} {trigger.consumer_group} $"
            )
    return warnings


def _looks(function: Function, app_name: str, *, redis_lease: bool) -> Iterator[_Look]:
    """Yield what is looked at. The commands are among those that `check --acl` allows."""
    trigger = function.trigger
    if isinstance(trigger, PubSubTrigger):
        lease = lease_key(app_name, function.name)
        keys = (lease, lease_epoch_key(lease), lease_length_key(lease), lease_draining_key(lease))
        for key in keys if redis_lease else ():
            yield key, "a string", ("GET", key)
        return
    for key in trigger.keys:
        yield (key, "a list", ("LLEN", key)) if isinstance(trigger, ListTrigger) else (key, "a stream", ("XLEN", key))
        yield dead_letters_key(key), "a stream", ("XLEN", dead_letters_key(key))
        if isinstance(trigger, ListTrigger) and trigger.delivery == "at-least-once":
            yield inflight_key(key), "a sorted set", ("ZCARD", inflight_key(key))
            yield elements_key(key), "a hash", ("HMGET", elements_key(key), "")
