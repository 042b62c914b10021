"""Find what may lose or repeat entries or stop an app: eviction, no persistence, a former primary that still accepts
writes, denied commands, functions that take each other's entries.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from listeners.errors import AccessDeniedError, CommandRefusedError
from listeners.functions.app import Function
from listeners.functions.triggers import PubSubTrigger, StreamTrigger, Trigger
from listeners.redis.acl import SampleCommand
from listeners.redis.error_translation import translate, translated
from listeners.redis.server_info import ServerInfo
from listeners.text import decode

__all__ = ["denied_commands", "server_advice", "shared_entries"]

#: The commands of a transaction, which cannot be queued in one.
TRANSACTION = ("MULTI", "EXEC", "DISCARD")


async def server_advice(client: Redis, triggers: Iterable[Trigger], *, under_sentinel: bool) -> list[str]:
    """Return how the server's settings may harm these triggers, each with its fix. Raises SourceError."""
    checked = list(triggers)
    keeps_entries = any(not isinstance(trigger, PubSubTrigger) for trigger in checked)
    has_lease = any(isinstance(trigger, PubSubTrigger) and trigger.singleton for trigger in checked)
    advice = [_eviction_advice(await _eviction_policy(client), keeps_entries=keeps_entries, has_lease=has_lease)]
    if keeps_entries:
        advice.append(_persistence_advice(await _is_persistent(client)))
    if under_sentinel and (keeps_entries or has_lease):
        advice.append(
            _replica_advice(
                min_replicas=await _config_value(client, "min-replicas-to-write"),
                max_lag_seconds=await _config_value(client, "min-replicas-max-lag"),
            )
        )
    return [text for text in advice if text]


def shared_entries(function: Function, others: Iterable[Function]) -> list[str]:
    """Return a warning for each other function on the same Redis that takes entries from what this one reads."""
    trigger = function.trigger
    if isinstance(trigger, PubSubTrigger):
        return []
    warnings: list[str] = []
    for other in others:
        both = [] if isinstance(other.trigger, PubSubTrigger) else [k for k in trigger.keys if k in other.trigger.keys]
        if not both or trigger.kind != other.trigger.kind:
            continue
        fix = "Use one function, or have the producer push to a list for each"
        if isinstance(trigger, StreamTrigger) and isinstance(other.trigger, StreamTrigger):
            if trigger.consumer_group != other.trigger.consumer_group:
                continue
            fix = f"They are both in the group {trigger.consumer_group!r}: give each its own consumer_group"
        warnings.append(
            f"{function.name} and {other.name} both read {' '.join(map(repr, both))}, so each gets only a part of the "
            f"entries. {fix}"
        )
    return warnings


def _eviction_advice(policy: str | None, *, keeps_entries: bool, has_lease: bool) -> str:
    fix = "CONFIG SET maxmemory-policy noeviction"
    if policy is None:
        return f"maxmemory-policy is unknown, because INFO and CONFIG GET are denied. It should be noeviction: {fix}"
    if policy.startswith("allkeys-") and keeps_entries:
        return (
            f"maxmemory-policy is {policy}: at its memory limit, Redis may evict lists, streams and the records of "
            f"entries in progress. Make it refuse writes instead: {fix}"
        )
    if policy != "noeviction" and has_lease:
        return (
            f"maxmemory-policy is {policy}: at its memory limit, Redis may evict a pub/sub lease, and two instances "
            f"would then handle each message. Make it refuse writes instead: {fix}"
        )
    return ""


def _persistence_advice(persistent: bool | None) -> str:
    fix = "CONFIG SET appendonly yes"
    if persistent is None:
        return (
            f"whether Redis persists its data is unknown, because CONFIG GET is denied. Make sure that it does: {fix}"
        )
    if persistent:
        return ""
    return (
        "Redis persists nothing (appendonly is no, and there are no save points): a restart loses pending entries and "
        f"entries in progress. Enable persistence: {fix}"
    )


def _replica_advice(min_replicas: str | None, max_lag_seconds: str | None) -> str:
    if "0" not in (min_replicas, max_lag_seconds):  # None: a managed server, which is configured elsewhere
        return ""
    return (
        "after a failover, the former primary accepts writes until it is demoted, so entries and leases are handed out "
        "twice. Make each server refuse writes while it has no replica (with a single replica, the app then stops "
        "while it restarts): CONFIG SET min-replicas-to-write 1 and CONFIG SET min-replicas-max-lag 10"
    )


async def _eviction_policy(client: Redis) -> str | None:
    """Return the policy from INFO, or else from CONFIG GET, which managed servers deny; None if unknown."""
    policy = await _info_value(client, "memory", "maxmemory_policy")
    return policy if policy is not None else await _config_value(client, "maxmemory-policy")


async def _is_persistent(client: Redis) -> bool | None:
    """Return whether there is an append-only file or a save point; None if unknown."""
    append_only = await _info_value(client, "persistence", "aof_enabled")
    if append_only is None:
        append_only = {"yes": "1", "no": "0"}.get(await _config_value(client, "appendonly") or "")
    if append_only == "1":
        return True
    save_points = await _config_value(client, "save")
    return None if save_points is None or append_only is None else bool(save_points)


async def _info_value(client: Redis, section: str, name: str) -> str | None:
    try:
        with translated(f"INFO {section}"):
            value = (await client.info(section)).get(name)
    except (AccessDeniedError, CommandRefusedError):
        return None
    return None if value is None else str(value)


async def _config_value(client: Redis, name: str) -> str | None:
    try:
        with translated(f"CONFIG GET {name}"):
            reply = await client.execute_command("CONFIG", "GET", name)
    except (AccessDeniedError, CommandRefusedError):
        return None
    return decode(reply[1]) if reply else None


async def denied_commands(
    client: Redis, server: ServerInfo, calls: Sequence[SampleCommand]
) -> list[tuple[SampleCommand, str]]:
    """Return the calls that the server denies this user or does not have, each with its error. No call is executed.

    Uses ACL DRYRUN (Redis 7.0) if the user may run it. Otherwise queues the calls in a transaction, where the server
    checks them, and discards it. The client must not be shared, because its connection may be left inside the
    transaction. Raises SourceError.
    """
    checked = list(dict.fromkeys(calls))
    with translated("checking the user's permissions"):
        replies = await _dry_run(client, checked) if server.supports(7) else None
        if replies is None:
            replies = await _queue_and_discard(client, checked)
    return [(call, refusal) for call, reply in zip(checked, replies, strict=True) if (refusal := _refusal(reply))]


async def _dry_run(client: Redis, calls: Sequence[SampleCommand]) -> list[Any] | None:
    try:
        user = await client.execute_command("ACL", "WHOAMI")
        await client.execute_command("ACL", "DRYRUN", user, "PING")
    except RedisError as error:
        if isinstance(translate(error, ""), AccessDeniedError | CommandRefusedError):
            return None
        raise
    return await _pipeline(client, [("ACL", "DRYRUN", user, *call) for call in calls])


async def _queue_and_discard(client: Redis, calls: Sequence[SampleCommand]) -> list[Any]:
    """Return the server's reply to queueing each call."""
    # Test an empty transaction first: if MULTI is denied, the server executes the calls.
    opened, executed = await _pipeline(client, [("MULTI",), ("EXEC",)])
    if isinstance(opened, RedisError):
        return [opened if call[0] in TRANSACTION else None for call in calls]
    if isinstance(executed, RedisError):  # the transaction is still open
        await client.connection_pool.disconnect()
    queued = [call for call in calls if call[0] not in TRANSACTION]
    replies = dict(zip(queued, (await _pipeline(client, [("MULTI",), *queued, ("DISCARD",)]))[1:-1], strict=True))
    return [executed if call[0] == "EXEC" else replies.get(call) for call in calls]


async def _pipeline(client: Redis, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands over one connection in one round trip. Raises RedisError if the connection fails."""
    async with client.pipeline(transaction=False) as pipeline:
        for call in calls:
            pipeline.execute_command(*call)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
    return replies


def _refusal(reply: Any) -> str:
    """Return the text of a reply that refuses a call: an ACL error, an unknown command, or the result of ACL DRYRUN."""
    if isinstance(reply, RedisError):
        refused = isinstance(translate(reply, ""), AccessDeniedError) or "unknown command" in str(reply).lower()
        return str(reply) if refused else ""
    return decode(reply) if isinstance(reply, bytes) and reply not in (b"OK", b"QUEUED") else ""
