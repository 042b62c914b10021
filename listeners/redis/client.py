"""A client for one Redis: a server, the primary behind Sentinels, or a cluster."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis

from listeners.connections.spec import ConnectionSpec, Endpoint
from listeners.errors import (
    AccessDeniedError,
    CommandRefusedError,
    SourceError,
    SourceTimeoutError,
    SourceUnavailableError,
)
from listeners.keys import key_slot
from listeners.redis.dialer import DialedConnection, HandshakeError
from listeners.redis.error_translation import TRANSLATED, translate, translated
from listeners.redis.scripts import Script, ScriptCall
from listeners.redis.server_info import ServerInfo, read_info
from listeners.redis.shared_connections import SharedConnections
from listeners.redis.topology import Topology
from listeners.runtime.tasks import together

__all__ = ["Client", "CommandGroup"]

SOCKET_TIMEOUT_SECONDS = 5.0
#: With two connections to a node, the client prepares commands while the server executes those before.
SHARED_CONNECTIONS = 2
MAX_CONNECTIONS = 8
#: How often one command is sent, following redirects, before it fails.
MAX_REDIRECTIONS = 3
Command = tuple[Any, ...]
#: A key of a slot, and commands on keys of that slot.
CommandGroup = tuple[str, Sequence[Command | ScriptCall]]


class Client:
    """Sends each command to the node that has its key, and follows redirects.

    Connects at the first command. Never repeats a command unless a node refused it: when a reply is lost, the command
    may have been executed. Replies are as the server sends them (RESP2). `client_name` is shown by CLIENT LIST,
    `timeout_seconds` bounds the wait for one reply. All callers share `shared_connections` to each node, and
    `max_connections` also counts those of subscriptions. Every method raises SourceError, whose text begins with
    `doing`.
    """

    def __init__(
        self,
        spec: ConnectionSpec,
        client_name: str,
        *,
        timeout_seconds: float = SOCKET_TIMEOUT_SECONDS,
        shared_connections: int = SHARED_CONNECTIONS,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self._spec = spec
        self._shared = SharedConnections(timeout_seconds, shared_connections)
        self._topology = Topology(
            spec,
            client_name,
            timeout_seconds=timeout_seconds,
            max_connections=max_connections,
            run=lambda node, command: self._round_trip(node, [command]),
        )
        #: Whether EVALSHA_RO is denied or renamed. EVALSHA, which needs the right to write, takes its place.
        self._read_only_refused = False

    @property
    def is_cluster(self) -> bool:
        """Whether this is a cluster; valid once a command or server() has been answered."""
        return self._topology.is_cluster

    async def server(self) -> ServerInfo:
        """Return the server's name and version (INFO). A server that denies INFO is treated as the oldest version.

        Raises SourceError if the server cannot be reached or refuses the user or password.
        """
        try:
            info = read_info(await self.command(None, "INFO", "server", doing="INFO server"))
        except (AccessDeniedError, CommandRefusedError) as error:
            if isinstance(error.__cause__, exceptions.AuthenticationError | HandshakeError):
                raise  # there is no connection, so that it was not INFO that was refused
            return ServerInfo()
        mode = info.get("redis_mode", info.get("server_mode"))
        if mode == "sentinel":
            raise CommandRefusedError(
                f"{self._spec.address} is a Sentinel, which has no keys: add serviceName=..., the name under which it "
                "monitors the primary, as in sentinel1:26379,sentinel2:26379,serviceName=main"
            )
        cluster = mode == "cluster"
        if cluster:
            with translated("CLUSTER SLOTS"):
                await self._topology.refresh()
        elif len(self._spec.endpoints) > 1 and self._spec.service is None:
            raise CommandRefusedError(
                f"{self._spec.address} names several servers that are not a cluster: name one server, or Sentinels "
                "with serviceName=..."
            )
        return ServerInfo.of(info)

    async def command(self, key: str | None, *command: Any, doing: str) -> Any:
        """Run one command on the node that has `key`, or on any node if it is None."""
        return (await self._execute(key, (command,), doing))[0]

    async def transaction(self, key: str, commands: Sequence[Command], *, doing: str) -> list[Any]:
        """Run commands on keys of one slot atomically (MULTI)."""
        *_, executed = await self._execute(key, (("MULTI",), *commands, ("EXEC",)), doing)
        return _raise_first_error(executed)

    async def run_script(self, lua: Script, keys: Sequence[str], arguments: Iterable[Any], *, doing: str) -> Any:
        """Run a script on keys of one slot (EVALSHA, or EVAL if the node has not cached it yet)."""
        parameters = (len(keys), *keys, *arguments)
        try:
            return (await self._execute(keys[0], (("EVALSHA", lua.digest, *parameters),), doing))[0]
        except CommandRefusedError as error:
            if not isinstance(error.__cause__, exceptions.NoScriptError):
                raise
        return (await self._execute(keys[0], (("EVAL", lua.source, *parameters),), doing))[0]

    async def transactions(self, groups: Sequence[CommandGroup], *, doing: str) -> list[list[Any]]:
        """Run groups of commands in one round trip per node. Each group is on keys of one slot and atomic (MULTI).

        A group that was refused, or whose node cannot be reached, has the error as its only reply.
        """
        replies: list[list[Any]] = [[] for _ in groups]
        groups = [(key, [self._allowed(command) for command in commands]) for key, commands in groups]
        sent = [[_by_digest(command) for command in commands] for _, commands in groups]
        pending = list(range(len(groups)))
        for _ in range(MAX_REDIRECTIONS):
            with translated(doing):
                by_node = await self._group_by_node(pending, [key for key, _ in groups])
            await together(
                self._run_groups(node, [(index, sent[index]) for index in indexes], replies)
                for node, indexes in by_node
            )
            moved = [index for index in pending if isinstance(replies[index][0], exceptions.MovedError)]
            unknown = [index for index in pending if isinstance(replies[index][0], exceptions.NoScriptError)]
            if moved:
                with translated(doing):
                    await self._topology.follow_move(replies[moved[0]][0])
            for index in unknown:
                sent[index] = [_by_source(command) for command in groups[index][1]]
            refused = [index for index in pending if self._refuses_read_only(sent[index], replies[index][0])]
            for index in refused:  # by source, as the node may not have cached the script
                sent[index] = [_by_source(self._allowed(command)) for command in groups[index][1]]
            pending = [*moved, *unknown, *refused]
            if not pending:
                break
        return replies

    @property
    def first_node(self) -> Redis:
        """A client of one server, to inspect the server itself. It raises errors of redis-py."""
        return self._topology.first_node

    def group_by_slot(self, keys: Sequence[str]) -> list[tuple[str, ...]]:
        """Group the keys that one command may name: in a cluster those of one slot, otherwise all of them."""
        if not self.is_cluster:
            return [tuple(keys)] if keys else []
        groups: dict[int, list[str]] = {}
        for key in keys:
            groups.setdefault(key_slot(key), []).append(key)
        return [tuple(group) for group in groups.values()]

    async def for_each_key(self, keys: Iterable[str], act: Callable[[str], Awaitable[None]]) -> None:
        """Act on every key, although it may fail for some. Raises the last SourceError.

        In a cluster concurrently, as a node that does not answer must not delay what is done on the others.
        """
        failures: list[SourceError] = []

        async def attempt(key: str) -> None:
            try:
                await act(key)
            except SourceError as error:
                failures.append(error)

        if self.is_cluster:
            await together(attempt(key) for key in keys)
        else:
            for key in keys:
                await attempt(key)
                if failures and isinstance(failures[-1], SourceUnavailableError | SourceTimeoutError):
                    break
        if failures:
            raise failures[-1]

    async def on_every_primary(self, *command: Any, doing: str) -> list[Any]:
        """Run one command without a key on every node that has slots, or without a cluster on the only node."""
        with translated(doing):
            nodes = [self._topology.node_at(endpoint) for endpoint in self._topology.primaries()] or [
                self._topology.first_node
            ]
            return [(await self._round_trip(node, [command]))[0] for node in nodes]

    async def subscription_pool(self, channel: str) -> ConnectionPool:
        """Return the pool of a node where `channel` can be subscribed to; in a cluster, any node can."""
        with translated("finding a node to subscribe at"):
            return (await self._topology.node_for(channel)).connection_pool

    async def primaries(self) -> list[Endpoint]:
        """Return the nodes of a cluster that have slots now."""
        with translated("CLUSTER SLOTS"):
            await self._topology.refresh()
        return self._topology.primaries()

    def subscription_pool_at(self, primary: Endpoint) -> ConnectionPool:
        """Return the pool of this node of a cluster."""
        return self._topology.node_at(primary).connection_pool

    def primary_of(self, key: str) -> Endpoint | None:
        """Return the node of a cluster that has a key, as far as is known now; None without a cluster."""
        return self._topology.primary_of(key)

    def watch_connection(self, primary: Endpoint | None) -> DialedConnection:
        """Return a connection that speaks RESP3, to this node of a cluster, or without a cluster to the only server.

        It is not connected, and belongs to the caller.
        """
        return self._topology.watch_connection(primary)

    async def is_primary(self, host: str, port: int) -> bool:
        """Return whether the Sentinels report this primary; True without Sentinels."""
        with translated("asking the Sentinels"):
            return await self._topology.sentinel_answer() in (None, (host, port))

    async def invalidate_routes(self, unresponsive: Redis | None = None) -> None:
        """Refresh the routes before the next command, because a connection was lost.

        `unresponsive`: the node that did not answer, if known.
        """
        await self._shared.release_all()
        await self._topology.invalidate(unresponsive)

    async def aclose(self) -> None:
        """Disconnect."""
        await self._shared.aclose()
        await self._topology.aclose()

    async def _execute(self, key: str | None, commands: Sequence[Command], doing: str) -> list[Any]:
        """Return the replies to commands sent to the node that has a key, in one round trip, and follow redirects.

        Raises the first error among them, translated.
        """
        try:
            for _ in range(MAX_REDIRECTIONS):
                node = await (self._topology.any_node() if key is None else self._topology.node_for(key))
                try:
                    return _raise_first_error(await self._shared.run(node.connection_pool, commands))
                except exceptions.MovedError as error:
                    await self._topology.follow_move(error)
                except exceptions.AskError as error:
                    if len(commands) > 1:  # ASKING is for a single command
                        raise exceptions.TryAgainError("the slot is being migrated") from error
                    node = self._topology.node_at(Endpoint(error.host or self._spec.host, error.port))
                    return (await self._round_trip(node, [("ASKING",), *commands]))[1:]
            raise exceptions.TryAgainError("too many redirects")
        except TRANSLATED as error:
            source_error = translate(error, doing)
            if isinstance(source_error, SourceUnavailableError | SourceTimeoutError):
                await self.invalidate_routes()
            raise source_error from error

    def _allowed(self, command: Command | ScriptCall) -> Command | ScriptCall:
        """Return a command, or in place of a read-only call of a script that would be refused another one."""
        if isinstance(command, ScriptCall) and command.read_only and self._read_only_refused:
            return replace(command, read_only=False)
        return command

    def _refuses_read_only(self, sent: Sequence[Command], reply: Any) -> bool:
        """Return whether EVALSHA_RO or EVAL_RO was refused, and remember it."""
        if sent[0][0] in {"EVALSHA_RO", "EVAL_RO"} and isinstance(reply, exceptions.ResponseError):
            self._read_only_refused |= f"'{sent[0][0]}'".lower() in str(reply).lower()
            return self._read_only_refused
        return False

    async def _round_trip(self, node: Redis, commands: Sequence[Command]) -> list[Any]:
        """Return the replies to commands sent in one round trip. Raises the first error among them."""
        return _raise_first_error(await self._shared.run(node.connection_pool, commands))

    async def _group_by_node(self, indexes: Iterable[int], keys: Sequence[str]) -> list[tuple[Redis, list[int]]]:
        by_node: dict[Redis, list[int]] = {}
        for index in indexes:
            by_node.setdefault(await self._topology.node_for(keys[index]), []).append(index)
        return list(by_node.items())

    async def _run_groups(
        self, node: Redis, groups: Sequence[tuple[int, Sequence[Command]]], replies: list[list[Any]]
    ) -> None:
        """Run groups of commands on one node and store their replies by index."""
        commands = [command for _, group in groups for command in _atomic(group)]
        try:
            remaining = await self._shared.run(node.connection_pool, commands)
        except (exceptions.RedisError, OSError) as error:
            await self.invalidate_routes(node)
            for index, _ in groups:
                replies[index] = [error]
            return
        for index, group in groups:
            size = len(_atomic(group))
            part, remaining = remaining[:size], remaining[size:]
            # A command refused while queued (ACL, MOVED) carries the reason; EXEC only reports that it aborted.
            refused = next((reply for reply in part if isinstance(reply, exceptions.RedisError)), None)
            replies[index] = [refused] if refused is not None else part if len(group) == 1 else part[-1]


def _atomic(group: Sequence[Command]) -> Sequence[Command]:
    """Return commands that run the group atomically. A single command is atomic by itself."""
    return group if len(group) == 1 else (("MULTI",), *group, ("EXEC",))


def _by_digest(command: Command | ScriptCall) -> Command:
    return command.by_digest if isinstance(command, ScriptCall) else command


def _by_source(command: Command | ScriptCall) -> Command:
    return command.by_source if isinstance(command, ScriptCall) else command


def _raise_first_error(replies: list[Any]) -> list[Any]:
    """Return the replies. Raises the first error among them."""
    for reply in replies:
        if isinstance(reply, exceptions.RedisError):
            raise reply
    return replies
