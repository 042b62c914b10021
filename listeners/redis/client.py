"""A client of one Redis, be it a server, the primary that Sentinels know, or a cluster."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from listeners.connections.spec import ConnectionSpec, Endpoint
from listeners.errors import AccessDeniedError, CommandRefusedError, SourceTimeoutError, SourceUnavailableError
from listeners.keys import key_slot
from listeners.redis.error_translation import TRANSLATED, translate, translated
from listeners.redis.pinned_connections import PinnedConnections
from listeners.redis.scripts import Script
from listeners.redis.server_info import ServerInfo
from listeners.redis.topology import Topology

__all__ = ["Client"]

#: Longer than any blocking read of ours, so that a read that waits is not taken for a server that hangs.
SOCKET_TIMEOUT_SECONDS = 5.0
MAX_CONNECTIONS = 8
#: How often one command follows a slot to another node before it is given up.
MAX_REDIRECTIONS = 3
Command = tuple[Any, ...]


class Client:
    """Sends each command to the node that has its key, and follows keys that move.

    Connects at its first command. It never sends a command again by itself unless a node refused it, since a reply
    that was lost may mean a command that was done. Answers come as the server sends them (RESP2). `client_name` is what
    CLIENT LIST shows, `timeout_seconds` the longest that one answer may take, `max_connections` is for each node.
    Every method raises SourceError, with `doing` in its text: what was being done.
    """

    def __init__(
        self,
        spec: ConnectionSpec,
        client_name: str,
        *,
        timeout_seconds: float = SOCKET_TIMEOUT_SECONDS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._spec = spec
        self._topology = Topology(spec, client_name, timeout_seconds=timeout_seconds, max_connections=max_connections)
        self._pinned = PinnedConnections(timeout_seconds)

    @property
    def is_cluster(self) -> bool:
        """Whether keys are spread over several nodes; known once a command or server() has been answered."""
        return self._topology.is_cluster

    async def server(self) -> ServerInfo:
        """Ask the server what it is (INFO). One that denies INFO is treated as the oldest.

        Raises SourceError if it cannot be reached, or refuses the user or password.
        """
        try:
            info = await self._follow(None, lambda node, _: node.info("server"), "INFO server")
        except (AccessDeniedError, CommandRefusedError) as error:
            if isinstance(error.__cause__, exceptions.AuthenticationError):
                raise  # not INFO is denied, but everything
            return ServerInfo()
        cluster = info.get("redis_mode", info.get("server_mode")) == "cluster"
        if cluster:
            with translated("CLUSTER SLOTS"):
                await self._topology.refresh()
        elif len(self._spec.endpoints) > 1 and self._spec.service is None:
            raise CommandRefusedError(
                f"{self._spec.address} names several servers, but they are no cluster: name one of them, or Sentinels "
                "with serviceName=..."
            )
        name, version = ("Valkey", "valkey_version") if "valkey_version" in info else ("Redis", "redis_version")
        return ServerInfo(name, _version(info.get(version, "0")), cluster)

    async def command(self, key: str | None, *command: Any, doing: str) -> Any:
        """Run one command where `key` is; None for a command without a key, on any node."""

        async def run(node: Redis, asking: bool) -> Any:
            if asking:
                return (await _pipelined(node, [("ASKING",), command]))[1]
            return (await self._answers(node, [command]))[0]

        return await self._follow(key, run, doing)

    async def transaction(self, key: str, commands: Sequence[Command], *, doing: str) -> list[Any]:
        """Run commands on keys of one slot as one step (MULTI)."""

        async def run(node: Redis, asking: bool) -> list[Any]:
            if asking:
                raise exceptions.TryAgainError("the slot is being moved")
            *_, executed = await self._answers(node, [("MULTI",), *commands, ("EXEC",)])
            return _all_done(executed)

        answers: list[Any] = await self._follow(key, run, doing)
        return answers

    async def run_script(self, lua: Script, keys: Sequence[str], arguments: Iterable[Any], *, doing: str) -> Any:
        """Run a script on keys of one slot (EVALSHA; EVAL where the node does not know it yet)."""
        rest = (len(keys), *keys, *arguments)
        try:
            return await self.command(keys[0], "EVALSHA", lua.digest, *rest, doing=doing)
        except CommandRefusedError as error:
            if not isinstance(error.__cause__, exceptions.NoScriptError):
                raise
        return await self.command(keys[0], "EVAL", lua.source, *rest, doing=doing)

    async def transactions(self, groups: Sequence[tuple[str, Sequence[Command]]], *, doing: str) -> list[list[Any]]:
        """Run groups of commands, each on keys of one slot and as one step (MULTI), in one round trip to each node.

        A group that was refused, or whose node cannot be reached, has its error as its only answer.
        """
        answers: list[list[Any]] = [[] for _ in groups]
        left = list(range(len(groups)))
        for _ in range(MAX_REDIRECTIONS):
            with translated(doing):
                by_node = await self._by_node(left, [key for key, _ in groups])
            await asyncio.gather(
                *(self._ask(node, [(at, groups[at][1]) for at in group], answers) for node, group in by_node)
            )
            moved = {at: answers[at][0] for at in left if isinstance(answers[at][0], exceptions.MovedError)}
            if not moved:
                break
            with translated(doing):
                await self._topology.follow_move(next(iter(moved.values())))
            left = list(moved)
        return answers

    @property
    def first_node(self) -> Redis:
        """One of the servers, to look at the server itself; its errors are redis-py's."""
        return self._topology.first_node

    def group_by_slot(self, keys: Sequence[str]) -> list[tuple[str, ...]]:
        """The keys in groups that one command may name: all of them, or in a cluster those of one slot."""
        groups: dict[int, list[str]] = {}
        for key in keys:
            groups.setdefault(key_slot(key) if self.is_cluster else 0, []).append(key)
        return [tuple(group) for group in groups.values()]

    async def on_every_primary(self, *command: Any, doing: str) -> list[Any]:
        """Run one command without a key on every node that has slots; outside of a cluster on the only one."""
        with translated(doing):
            nodes = [self._topology.node_at(endpoint) for endpoint in self._topology.primaries()] or [
                self._topology.first_node
            ]
            return [await node.execute_command(*command) for node in nodes]

    async def subscription(self, channel: str) -> PubSub:
        """A subscription to nothing yet, at a node that a channel may be subscribed to at: in a cluster, any."""
        with translated("looking for a node to subscribe at"):
            return (await self._topology.node_for(channel)).pubsub()

    async def primaries(self) -> list[Endpoint]:
        """The nodes of a cluster that have slots now."""
        with translated("CLUSTER SLOTS"):
            await self._topology.refresh()
        return self._topology.primaries()

    def subscription_at(self, primary: Endpoint) -> PubSub:
        """A subscription to nothing yet, at this node of a cluster."""
        return self._topology.node_at(primary).pubsub()

    async def invalidate_routes(self, silent: Redis | None = None) -> None:
        """Find out anew, before the next command, which node to ask: a connection to one was lost.

        `silent`: the one that did not answer, if it is known.
        """
        await self._pinned.release_all()
        await self._topology.invalidate(silent)

    async def aclose(self) -> None:
        """Disconnect."""
        await self._topology.aclose()

    async def _follow(self, key: str | None, run: Callable[[Redis, bool], Awaitable[Any]], doing: str) -> Any:
        """Run something where a key is; if a node says that another one has it, there."""
        try:
            return await self._redirected(key, run)
        except TRANSLATED as error:
            ours = translate(error, doing)
            if isinstance(ours, SourceUnavailableError | SourceTimeoutError):
                await self.invalidate_routes()
            raise ours from error

    async def _redirected(self, key: str | None, run: Callable[[Redis, bool], Awaitable[Any]]) -> Any:
        for _ in range(MAX_REDIRECTIONS):
            node = await (self._topology.any_node() if key is None else self._topology.node_for(key))
            try:
                return await run(node, False)
            except exceptions.MovedError as error:
                await self._topology.follow_move(error)
            except exceptions.AskError as error:
                return await run(self._topology.node_at(Endpoint(error.host or self._spec.host, error.port)), True)
        raise exceptions.TryAgainError("the key moves from node to node")

    async def _answers(self, node: Redis, commands: Sequence[Command]) -> list[Any]:
        """The answers of one round trip; raises the first error among them."""
        if self._spec.service is None:
            return _all_done(await self._pinned.run(node.connection_pool, commands))
        return await _pipelined(node, commands)  # connections to a primary follow it in their pool only

    async def _by_node(self, indexes: Iterable[int], keys: Sequence[str]) -> list[tuple[Redis, list[int]]]:
        found: dict[Redis, list[int]] = {}
        for at in indexes:
            found.setdefault(await self._topology.node_for(keys[at]), []).append(at)
        return list(found.items())

    async def _ask(
        self, node: Redis, groups: Sequence[tuple[int, Sequence[Command]]], answers: list[list[Any]]
    ) -> None:
        """Fill in one node's answers."""
        commands = [command for _, group in groups for command in (("MULTI",), *group, ("EXEC",))]
        try:
            flat = await _pipelined(node, commands, raising=False)
        except (exceptions.RedisError, OSError) as error:
            await self.invalidate_routes(node)
            for at, _ in groups:
                answers[at] = [error]
            return
        for at, group in groups:
            part, flat = flat[: len(group) + 2], flat[len(group) + 2 :]
            # A command refused while it was queued (ACL, MOVED) names its reason; EXEC then only says that it aborted.
            refused = next((answer for answer in part if isinstance(answer, exceptions.RedisError)), None)
            answers[at] = [refused] if refused is not None else part[-1]


def _all_done(answers: list[Any]) -> list[Any]:
    """The answers if no command was refused; raises the first error."""
    for answer in answers:
        if isinstance(answer, exceptions.RedisError):
            raise answer
    return answers


async def _pipelined(node: Redis, commands: Sequence[Command], *, raising: bool = True) -> list[Any]:
    async with node.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=raising)


def _version(version: object) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(version))[:3]) or (0,)
