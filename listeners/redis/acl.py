"""The ACL rule that grants an app what it needs and nothing else. No I/O."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from listeners.redis.server_info import ServerInfo

__all__ = ["CLIENT_SETNAME", "NO_ACL", "Permissions", "SampleCommand", "acl_setuser", "escape_glob", "without_spaces"]

#: A command with sample arguments.
SampleCommand = tuple[str, ...]
#: What is printed instead of a rule for a server without ACL.
NO_ACL = "has no ACL, which needs Redis 6.0 or later: every user may run every command"
#: Commands whose first argument is a subcommand.
CONTAINERS = ("CLIENT", "CLUSTER", "MEMORY", "PUBSUB", "XGROUP", "XINFO")
SHA = "0" * 40
#: A script's source is sent to a server that has not cached it yet.
EVAL: SampleCommand = ("EVAL", "return 1", "0")

CLIENT_SETNAME: SampleCommand = ("CLIENT", "SETNAME", "x")
#: Every connection sets its name; `check` tests commands in a transaction that it discards.
CONNECTION: tuple[SampleCommand, ...] = (
    CLIENT_SETNAME, ("INFO", "server"), ("PING",), ("MULTI",), ("EXEC",), ("DISCARD",),
)  # fmt: skip

#: The password of a new user, to be replaced.
PASSWORD = "CHANGE-ME"  # noqa: S105  (a placeholder)


@dataclass(frozen=True)
class Permissions:
    """What one function needs. Without every command in `host`, its trigger cannot be read. `more` is for measuring and
    for `triggerfish dead`. `keys` and `channels` are glob patterns.
    """

    host: tuple[SampleCommand, ...]
    more: tuple[SampleCommand, ...]
    keys: tuple[str, ...]
    channels: tuple[str, ...] = ()


def acl_setuser(
    user: str | None, app_name: str, permissions: Iterable[Permissions], server: ServerInfo, *, database: int
) -> str:
    """Return the command that grants `user`, or a new user with the app's name, what is needed and nothing else.

    An existing user keeps its password. Only for servers with ACL (Redis 6.0).
    """
    needs = list(permissions)
    calls = {call for need in needs for call in (*need.host, *need.more)} | set(CONNECTION)
    if server.cluster:
        calls |= {("CLUSTER", "SLOTS"), ("CLUSTER", "NODES")}
    commands = {_rule(call) for call in calls}
    if server.supports(7, 2) or not server.supports(7):  # 7.0 does not have this subcommand and refuses the rule
        commands.add("client|setinfo")
    if database:
        commands.add("select")
    name = user or re.sub(r"[^\w.-]", "-", app_name)
    login = [] if user else ["on", f">{PASSWORD}"]
    keys = _unique(f"~{pattern}" for need in needs for pattern in need.keys)
    channels = _unique(f"&{pattern}" for need in needs for pattern in need.channels)
    reset = ["resetkeys", *(["resetchannels"] if server.supports(6, 2) else []), "-@all"]
    rules = [*login, *reset, *(f"+{command}" for command in sorted(commands)), *keys]
    return " ".join(["ACL", "SETUSER", name, *rules, *(channels if server.supports(6, 2) else [])])


def _rule(call: SampleCommand) -> str:
    return f"{call[0]}|{call[1]}".lower() if call[0] in CONTAINERS else call[0].lower()


def escape_glob(name: str) -> str:
    """Return a glob pattern for exactly this name, with `?` for spaces and quotes (see `without_spaces`)."""
    return without_spaces(re.sub(r"([*?\[\]\\])", r"\\\1", name))


def without_spaces(pattern: str) -> str:
    """Replace spaces, quotes and control characters by `?`, which matches any character. A rule cannot contain spaces,
    and a quote would end it where it is typed.
    """
    return re.sub(r"[\s\"'\x00-\x1f\x7f]", "?", pattern)


def _unique(patterns: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(patterns))
