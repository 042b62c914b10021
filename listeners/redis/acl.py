"""Acl: moved out of another file; say what belongs here."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from listeners.redis.server_info import ServerInfo

__all__ = ["NO_ACL", "Permissions", "SampleCommand", "acl_setuser", "escape_glob", "without_spaces"]

#: A command with arguments that it could be run with.
SampleCommand = tuple[str, ...]
#: What is said where there is nothing to set.
NO_ACL = "has no ACL, which came with Redis 6.0: every user may do everything"
#: Commands whose first argument is a part of their name.
CONTAINERS = ("CLIENT", "CLUSTER", "PUBSUB", "XGROUP", "XINFO")
SHA = "0" * 40
#: A script is sent whole to a server that does not know it yet.
EVAL: SampleCommand = ("EVAL", "return 1", "0")

#: Every connection says who it is; `check` tries commands in a transaction that it discards.
CONNECTION: tuple[SampleCommand, ...] = (
    ("CLIENT", "SETNAME", "x"), ("INFO", "server"), ("PING",), ("MULTI",), ("EXEC",), ("DISCARD",),
)  # fmt: skip

#: Where a user gets a password that has to be replaced.
PASSWORD = "CHANGE-ME"  # noqa: S105  (it opens nothing)


@dataclass(frozen=True)
class Permissions:
    """What one function needs. Without a call of `host` its trigger is not read; `more` is for measuring and for
    `triggerfish dead`. `keys` and `channels` are glob patterns.
    """

    host: tuple[SampleCommand, ...]
    more: tuple[SampleCommand, ...]
    keys: tuple[str, ...]
    channels: tuple[str, ...] = ()


def acl_setuser(
    user: str | None, app_name: str, permissions: Iterable[Permissions], server: ServerInfo, *, database: int
) -> str:
    """The command that lets `user`, or one with the app's name, do what is needed and nothing else.

    A user that exists keeps its password. Only for servers with ACL (Redis 6.0).
    """
    wanted = list(permissions)
    calls = {call for need in wanted for call in (*need.host, *need.more)} | set(CONNECTION)
    if server.cluster:
        calls.add(("CLUSTER", "SLOTS"))
    commands = {_rule(call) for call in calls}
    if server.supports(7, 2) or not server.supports(7):  # 7.0 has no such command, and refuses the rule
        commands.add("client|setinfo")
    if database:
        commands.add("select")
    name = user or re.sub(r"[^\w.-]", "-", app_name)
    login = [] if user else ["on", f">{PASSWORD}"]
    keys = _unique(f"~{pattern}" for need in wanted for pattern in need.keys)
    channels = _unique(f"&{pattern}" for need in wanted for pattern in need.channels)
    reset = ["resetkeys", *(["resetchannels"] if server.supports(6, 2) else []), "-@all"]
    rules = [*login, *reset, *(f"+{command}" for command in sorted(commands)), *keys]
    return " ".join(["ACL", "SETUSER", name, *rules, *(channels if server.supports(6, 2) else [])])


def _rule(call: SampleCommand) -> str:
    return f"{call[0]}|{call[1]}".lower() if call[0] in CONTAINERS else call[0].lower()


def escape_glob(name: str) -> str:
    """A glob pattern for exactly this name."""
    return without_spaces(re.sub(r"([*?\[\]\\])", r"\\\1", name))


def without_spaces(pattern: str) -> str:
    """A rule has no spaces, and quotes would end where it is typed: any character stands for them."""
    return re.sub(r"[\s\"'\x00-\x1f\x7f]", "?", pattern)


def _unique(patterns: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(patterns))
