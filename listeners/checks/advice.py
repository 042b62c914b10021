"""Find what may lose or repeat entries: eviction, no persistence, a former primary that still accepts writes, functions
that take each other's entries.
"""

from collections.abc import Iterable

from redis.asyncio import Redis

from listeners.errors import AccessDeniedError, CommandRefusedError
from listeners.functions.app import Function
from listeners.functions.triggers import PubSubTrigger, StreamTrigger, Trigger
from listeners.redis.error_translation import translated
from listeners.text import decode

__all__ = ["server_advice", "shared_entries"]

#: The keys that Redis remembers for client tracking: when there is too little room for them, and its own default.
FULL_SHARE = 0.9
FEW_TRACKED_KEYS = 10_000
ENOUGH_TRACKED_KEYS = 1_000_000


async def server_advice(client: Redis, triggers: Iterable[Trigger], *, under_sentinel: bool) -> list[str]:
    """Return how the server's settings may harm these triggers, each with its fix. Raises SourceError."""
    checked = list(triggers)
    keeps_entries = any(not isinstance(trigger, PubSubTrigger) for trigger in checked)
    has_lease = any(isinstance(trigger, PubSubTrigger) and trigger.singleton for trigger in checked)
    advice = [_eviction_advice(await _eviction_policy(client), keeps_entries=keeps_entries, has_lease=has_lease)]
    if keeps_entries:
        advice.append(_persistence_advice(await _is_persistent(client)))
        advice.append(
            _tracking_advice(
                max_keys=await _config_value(client, "tracking-table-max-keys"),
                keys=await _info_value(client, "stats", "tracking_total_keys"),
            )
        )
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


def _tracking_advice(max_keys: str | None, keys: str | None) -> str:
    """Return whether Redis can remember the keys whose changes it is to report. 0 stands for no limit."""
    if max_keys is None or keys is None or max_keys == "0":
        return ""
    fix = (
        "Beyond the limit it reports changes that did not happen, each of which costs a measurement. Raise the limit: "
        f"CONFIG SET tracking-table-max-keys {ENOUGH_TRACKED_KEYS}"
    )
    if int(keys) >= FULL_SHARE * int(max_keys):
        return f"Redis remembers {int(keys):,} keys for client tracking, of at most {int(max_keys):,}. {fix}"
    if int(max_keys) < FEW_TRACKED_KEYS:
        return f"tracking-table-max-keys is {int(max_keys):,}, and each key of a trigger takes up to 3. {fix}"
    return ""


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
