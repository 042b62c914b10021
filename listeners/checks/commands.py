"""Find the commands that the server denies the app's user, or does not have, and what follows."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from listeners.errors import AccessDeniedError, CommandRefusedError
from listeners.redis.acl import CLIENT_SETNAME, Permissions, SampleCommand
from listeners.redis.error_translation import translate, translated
from listeners.redis.server_info import ServerInfo
from listeners.text import decode

__all__ = ["CommandReport", "command_report"]

FIX = "allow it with the command that `triggerfish check --acl` prints, and do not rename it on the server"
#: How many key and channel patterns a text names.
MAX_PATTERNS = 4
#: The commands of a transaction, which cannot be queued in one.
TRANSACTION = ("MULTI", "EXEC", "DISCARD")
#: The error of a server that does not have a command, and the result of ACL DRYRUN for it.
MISSING = re.compile(r"unknown command|Command '.*' not found", re.IGNORECASE)
#: What follows if a command is denied that others replace, or that only `check` needs.
POLLED = "its keys are polled by the host and by the scaler, so an entry may wait for polling_interval_ms"
CONSEQUENCES = {
    "HELLO": POLLED,
    "CLIENT TRACKING": POLLED,
    "LMPOP": "its keys are popped one after the other",
    "EVAL_RO": "streams are measured by EVAL",
    "EVALSHA_RO": "streams are measured by EVALSHA",
    "MEMORY": "dead letters are bounded in number but not in size",
    "CLIENT SETNAME": "CLIENT LIST does not show the names of its connections",
    "DEL": "`check` cannot remove keys that it makes",
    "PEXPIRE": "`check` cannot let keys that it makes expire",
}
#: The commands with which `check` makes keys and removes them.
TRIAL = ("RPUSH", "LPUSH", "XADD", "DEL", "PEXPIRE", "MULTI", "EXEC")


@dataclass(frozen=True)
class CommandReport:
    """The denied commands of one function.

    `broken` is what prevents the trigger from being read, or empty. `warnings` concern other commands. `may_try`:
    none is among them that `check` needs to try the others.
    """

    broken: str
    warnings: tuple[str, ...]
    may_try: bool


async def command_report(client: Redis, server: ServerInfo, function: str, needs: Permissions) -> CommandReport:
    """Report the denied commands of a function. The client must not be shared: a transaction may be left open."""
    denied = await _denied_commands(client, server, [*needs.host, *needs.more, CLIENT_SETNAME])
    essential = set(needs.host)
    host = [(call, refusal) for call, refusal in denied if call in essential]
    reported = {call[0] for call, _ in host}
    more = [(call, refusal) for call, refusal in denied if call not in essential and call[0] not in reported]
    where = _where(needs)
    warnings: list[str] = []
    if failing := [each for each in more if not any(_is(each[0], command) for command in CONSEQUENCES)]:
        warnings.append(f"{function}: measuring or `triggerfish dead` will fail: {_denials(failing)}: {FIX}{where}")
    for command, consequence in CONSEQUENCES.items():
        if denials := [each for each in more if _is(each[0], command)]:
            warnings.append(f"{function}: {consequence}: {_denials(denials)}: {FIX}{where}")
    broken = f"{_denials(host)}: {FIX}{where}" if host else ""
    return CommandReport(broken, tuple(warnings), may_try=not {call[0] for call, _ in denied} & set(TRIAL))


def _is(call: SampleCommand, command: str) -> bool:
    """Return whether a call is of a command, which may be a subcommand."""
    words = command.split()
    return list(call[: len(words)]) == words


def _where(needs: Permissions) -> str:
    """Return the keys and channels that the commands need, for the text of a fix."""
    patterns = [*(f"~{key}" for key in needs.keys), *(f"&{channel}" for channel in needs.channels)]
    more = f" and {len(patterns) - MAX_PATTERNS} more" if len(patterns) > MAX_PATTERNS else ""
    return f" (on {' '.join(patterns[:MAX_PATTERNS])}{more})"


def _denials(denied: list[tuple[SampleCommand, str]]) -> str:
    """Return the denied commands, and the server's error for the first."""
    commands = ", ".join(dict.fromkeys(call[0] for call, _ in denied))
    return f"{commands} denied ({denied[0][1].rstrip('., ')})"


async def _denied_commands(
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
        refused = isinstance(translate(reply, ""), AccessDeniedError) or MISSING.search(str(reply))
        return str(reply) if refused else ""
    return decode(reply) if isinstance(reply, bytes) and reply not in (b"OK", b"QUEUED") else ""
