"""Looks for what may lose or repeat entries, or keep an app from working: eviction, no persistence, a primary that does
not notice its fail-over, denied commands.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from listeners.errors import AccessDeniedError, CommandRefusedError
from listeners.functions.triggers import PubSubTrigger, Trigger
from listeners.redis.acl import SampleCommand
from listeners.redis.error_translation import translate, translated
from listeners.redis.server_info import ServerInfo
from listeners.text import decode

__all__ = ["denied_commands", "server_advice"]

#: A transaction's own commands: they are tried by themselves.
TRANSACTION = ("MULTI", "EXEC", "DISCARD")


async def server_advice(client: Redis, triggers: Iterable[Trigger], *, under_sentinel: bool) -> list[str]:
    """What the server's settings may do to these triggers, one sentence with its fix each. Raises SourceError."""
    read = list(triggers)
    keeps_entries = any(not isinstance(trigger, PubSubTrigger) for trigger in read)
    has_lease = any(isinstance(trigger, PubSubTrigger) and trigger.singleton for trigger in read)
    advice = [_about_eviction(await _eviction_policy(client), keeps_entries=keeps_entries, has_lease=has_lease)]
    if keeps_entries:
        advice.append(_about_persistence(await _is_persistent(client)))
    if under_sentinel and (keeps_entries or has_lease):
        advice.append(
            _about_replicas(
                needed=await _configured(client, "min-replicas-to-write"),
                silent_seconds=await _configured(client, "min-replicas-max-lag"),
            )
        )
    return [sentence for sentence in advice if sentence]


def _about_eviction(policy: str | None, *, keeps_entries: bool, has_lease: bool) -> str:
    fix = "CONFIG SET maxmemory-policy noeviction"
    if policy is None:
        return f"maxmemory-policy is not known, as INFO and CONFIG GET are denied; make sure of it: {fix}"
    if policy.startswith("allkeys-") and keeps_entries:
        return (
            f"maxmemory-policy is {policy}: at its memory limit Redis may evict lists, streams and the records of "
            f"entries in flight. Let it refuse writes instead: {fix}"
        )
    if policy != "noeviction" and has_lease:
        return (
            f"maxmemory-policy is {policy}: at its memory limit Redis may evict a pub/sub lease, and two instances "
            f"would handle each message. Let it refuse writes instead: {fix}"
        )
    return ""


def _about_persistence(persistent: bool | None) -> str:
    fix = "CONFIG SET appendonly yes"
    if persistent is None:
        return f"whether Redis keeps its data on disk is not known, as CONFIG GET is denied; make sure of it: {fix}"
    if persistent:
        return ""
    return (
        "Redis keeps nothing on disk (appendonly is no, and there are no save points): its restart loses what waits "
        f"and what is in flight. Turn persistence on: {fix}"
    )


def _about_replicas(needed: str | None, silent_seconds: str | None) -> str:
    if "0" not in (needed, silent_seconds):  # or not told: a managed server, which has it elsewhere
        return ""
    return (
        "a primary that the Sentinels replaced hands out entries and leases beside its successor until it is told. "
        "Let each server refuse that once no replica follows it (if there is one only, the app then stops while it "
        "restarts): CONFIG SET min-replicas-to-write 1 and CONFIG SET min-replicas-max-lag 10"
    )


async def _eviction_policy(client: Redis) -> str | None:
    """The policy, from INFO or else from CONFIG, which managed servers deny; None if neither says it."""
    policy = await _told(client, "memory", "maxmemory_policy")
    return policy if policy is not None else await _configured(client, "maxmemory-policy")


async def _is_persistent(client: Redis) -> bool | None:
    """Whether there is an append-only file or a save point; None if the server does not say."""
    appends = await _told(client, "persistence", "aof_enabled")
    if appends is None:
        appends = {"yes": "1", "no": "0"}.get(await _configured(client, "appendonly") or "")
    if appends == "1":
        return True
    save_points = await _configured(client, "save")
    return None if save_points is None or appends is None else bool(save_points)


async def _told(client: Redis, section: str, name: str) -> str | None:
    try:
        with translated(f"INFO {section}"):
            value = (await client.info(section)).get(name)
    except (AccessDeniedError, CommandRefusedError):
        return None
    return None if value is None else str(value)


async def _configured(client: Redis, name: str) -> str | None:
    try:
        with translated(f"CONFIG GET {name}"):
            answer = await client.execute_command("CONFIG", "GET", name)
    except (AccessDeniedError, CommandRefusedError):
        return None
    return decode(answer[1]) if answer else None


async def denied_commands(
    client: Redis, server: ServerInfo, calls: Sequence[SampleCommand]
) -> list[tuple[SampleCommand, str]]:
    """The calls that the server would refuse to this user, or does not have, with what it says. Nothing is run.

    ACL DRYRUN tells (Redis 7.0), if the user may use it; else the calls are queued in a transaction, which checks them,
    and discarded. The client must be one of its own: its connection may be left within the transaction.
    Raises SourceError.
    """
    wanted = list(dict.fromkeys(calls))
    with translated("looking at what the user may do"):
        replies = await _dry_run(client, wanted) if server.supports(7) else None
        if replies is None:
            replies = await _discarded(client, wanted)
    return [(call, said) for call, reply in zip(wanted, replies, strict=True) if (said := _refusal(reply))]


async def _dry_run(client: Redis, calls: Sequence[SampleCommand]) -> list[Any] | None:
    try:
        user = await client.execute_command("ACL", "WHOAMI")
        await client.execute_command("ACL", "DRYRUN", user, "PING")
    except RedisError as error:
        if isinstance(translate(error, ""), AccessDeniedError | CommandRefusedError):
            return None
        raise
    return await _piped(client, [("ACL", "DRYRUN", user, *call) for call in calls])


async def _discarded(client: Redis, calls: Sequence[SampleCommand]) -> list[Any]:
    """What the server says of each call when it is queued."""
    # Alone first, and empty: outside of a transaction the calls would be run.
    opened, executed = await _piped(client, [("MULTI",), ("EXEC",)])
    if isinstance(opened, RedisError):
        return [opened if call[0] in TRANSACTION else None for call in calls]
    if isinstance(executed, RedisError):  # the transaction is still open
        await client.connection_pool.disconnect()
    queued = [call for call in calls if call[0] not in TRANSACTION]
    answers = dict(zip(queued, (await _piped(client, [("MULTI",), *queued, ("DISCARD",)]))[1:-1], strict=True))
    return [executed if call[0] == "EXEC" else answers.get(call) for call in calls]


async def _piped(client: Redis, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands over one connection, in one go. Raises RedisError if it breaks."""
    async with client.pipeline(transaction=False) as pipeline:
        for call in calls:
            pipeline.execute_command(*call)
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
    return replies


def _refusal(reply: Any) -> str:
    """What a reply says if it refuses: an error of the ACL, one of a command that is not there, or a text of DRYRUN."""
    if isinstance(reply, RedisError):
        refused = isinstance(translate(reply, ""), AccessDeniedError) or "unknown command" in str(reply).lower()
        return str(reply) if refused else ""
    return decode(reply) if isinstance(reply, bytes) and reply not in (b"OK", b"QUEUED") else ""
