"""How connections are opened: the hosts they may lead to, TLS, and credentials."""

import asyncio
import contextlib
import math
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis._parsers.hiredis import _AsyncHiredisParser
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from listeners.connections.allowed_hosts import host_matches, is_remote_address
from listeners.connections.credentials import EntraTokens, PasswordFile, entra_identity
from listeners.connections.likely_mistakes import likely_mistake
from listeners.connections.resolver import Resolver
from listeners.connections.spec import ConnectionSpec
from listeners.connections.tls import tls_context
from listeners.redis.reply_bounds import ReplyBudget
from listeners.runtime.files import FileWatch, file_stamp

__all__ = ["DialedConnection", "Dialer", "HandshakeError", "parse_error"]


class HandshakeError(ResponseError):
    """The server refused a command that opens a connection, such as SELECT."""


#: After a reply that took more reads, of up to 64 KiB each, its buffer is freed.
MAX_READS = 16


def parse_error(text: str) -> RedisError:
    """Return the error of redis-py for an error reply."""
    error: RedisError = _AsyncHiredisParser.parse_error(text)
    return error


class Dialer:
    """What all connections of one spec share. `allowed` returns whether a host may be connected to; None allows all."""

    def __init__(self, spec: ConnectionSpec) -> None:
        self._spec = spec
        files = [Path(file) for file in (spec.ca_file, spec.certificate_file, spec.key_file) if file is not None]
        self._files = FileWatch(lambda: tuple(map(file_stamp, files)))
        self._context: ssl.SSLContext | None = None
        patterns = spec.allowed_hosts
        self.allowed: Callable[[str], bool] | None = None
        if patterns is not None:
            self.allowed = lambda host: host_matches(host, patterns)
        self.server_name = spec.server_name
        self.credentials = _credentials(spec)
        self.replies = ReplyBudget() if patterns is not None else None
        self._resolver = Resolver()

    def connection_class(self, *, sentinel: bool = False) -> "type[DialedConnection]":
        """Return the class of connections to a server, or to the primary that Sentinels report."""
        if self._spec.unix_path is not None:
            return _Local
        if sentinel:
            return _SecurePrimary if self._spec.tls else _PlainPrimary
        return _Secure if self._spec.tls else _Plain

    @property
    def reconnect_at(self) -> float:
        """When a connection opened now must be replaced (time.monotonic)."""
        return self.credentials.renew_at if isinstance(self.credentials, EntraTokens) else math.inf

    def context(self) -> ssl.SSLContext:
        """Return the TLS context, rebuilt if its files have been replaced. Raises OSError if a file cannot be used."""
        if self._context is None or self._files.changed():
            with self._files.reading():
                self._context = tls_context(self._spec)
        return self._context

    async def addresses(self, host: str) -> list[str]:
        """Resolve a host to its addresses. Raises an error of redis-py if the host may not be connected to.

        Connect to these addresses, not to the name: a second lookup may return others.
        """
        if self.allowed is not None and not self.allowed(host):
            raise RedisConnectionError(f"{host} is not one of the allowed hosts")
        addresses = await self._resolver.addresses(host)
        if self.allowed is not None and not all(map(is_remote_address, addresses)):
            raise RedisConnectionError(f"{host} has a loopback, link-local, unspecified or multicast address")
        return addresses


def _credentials(spec: ConnectionSpec) -> CredentialProvider | None:
    if spec.entra:
        return EntraTokens(entra_identity, spec.username)
    return PasswordFile(Path(spec.password_file), spec.username) if spec.password_file is not None else None


class _Parser(_AsyncHiredisParser):
    """Bounds replies of a server that is not trusted, and keeps no buffer that a large reply needed."""

    __slots__ = ("_budget", "_connection", "_read_at_last_reply", "_reads")

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self._reads = 0
        self._read_at_last_reply = 0

    def on_connect(self, connection: Any) -> None:
        """Begin with an empty buffer."""
        self._connection = connection
        self._budget: ReplyBudget | None = connection.dialer.replies
        super().on_connect(connection)  # type: ignore[no-untyped-call]

    async def read_from_socket(self) -> bool:
        """Read what has arrived."""
        self._reads += 1
        if self._budget is None:
            return bool(await super().read_from_socket())  # type: ignore[no-untyped-call]
        received = await self._connection._reader.read(self._read_size)
        if not received:
            raise RedisConnectionError("the server closed the connection")
        try:
            self._budget.add(self._connection, received)
        except RedisConnectionError:
            self.on_connect(self._connection)  # frees what has arrived
            raise
        self._reader.feed(received)  # type: ignore[attr-defined]
        return True

    async def read_response(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the next reply."""
        reply = await super().read_response(*arguments, **keywords)
        is_large = self._reads - self._read_at_last_reply > MAX_READS
        if is_large and self._connected and self._reader is not None and not self._reader.has_data():
            # hiredis keeps a buffer as large as the reply until it reads again. Only a new reader has a small one.
            self.on_connect(self._connection)
        self._read_at_last_reply = self._reads
        return reply


class DialedConnection(Connection):
    """A connection that its dialer configures: allowed addresses, TLS files and credentials."""

    def __init__(self, *, dialer: Dialer, **options: Any) -> None:
        self.dialer = dialer
        self._address: str | None = None
        #: When it must be replaced (time.monotonic).
        self.reconnect_at = math.inf
        super().__init__(parser_class=_Parser, **options)

    @property
    def transport(self) -> asyncio.WriteTransport:
        """The transport of an open connection."""
        if self._writer is None:
            raise RedisConnectionError("the connection is closed")
        return self._writer.transport

    @property
    def has_ended(self) -> bool:
        """Whether an open connection has been closed or lost, which redis-py notices at the next command only."""
        reader: asyncio.StreamReader | None = self._reader
        return reader is None or reader.at_eof() or reader.exception() is not None or self.transport.is_closing()

    @property
    def expired(self) -> bool:
        """Whether its credentials are to be renewed, for which it must connect again."""
        return time.monotonic() >= self.reconnect_at

    async def connect(self) -> None:
        """Connect unless connected with current credentials. The pool calls this before it hands out a connection."""
        if self.is_connected:
            if not self.expired:
                return
            await self.disconnect()
        try:
            await super().connect()  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            # Otherwise a connection with an incomplete handshake counts as connected, and the pool hands it out.
            await self.disconnect(nowait=True)
            raise
        except RedisError as error:
            problem = self._explained(error)
            if type(error) is ResponseError:
                raise HandshakeError(problem) from error
            error.args = (problem,)
            raise

    def _explained(self, error: RedisError) -> str:
        """Return the text of a failed handshake's error, with its address and with the fix of a likely mistake."""
        problem = str(error)
        if isinstance(error, RedisTimeoutError):
            address = self._host_error()
            if address not in problem:
                problem = f"{problem.removesuffix(' to server')} to {address}"
        fix = likely_mistake(problem, tls=isinstance(self, SSLConnection))
        if fix and fix not in problem:
            problem = f"{problem.rstrip('.,? ')}. {fix}"
        return problem

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send a command. redis-py starts a task per command to bound the write, which only a stalled write needs."""
        if self.dialer.replies is not None:
            self.dialer.replies.begin(self)
        writer: asyncio.StreamWriter | None = self._writer
        if writer is None or isinstance(command, str):
            await super().send_packed_command(command, check_health)
            return
        try:
            writer.write(command if isinstance(command, bytes) else b"".join(command))
            if writer.transport.get_write_buffer_size() > 0:
                await super().send_packed_command([], check_health=False)
        except RuntimeError as error:  # from uvloop if the transport is closed
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"the connection is closed: {error}") from error

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        if self.credential_provider is not None:
            await self.credential_provider.get_credentials_async()
            self.reconnect_at = self.dialer.reconnect_at
        name, self.client_name = self.client_name, None  # redis-py does not connect if the name is refused
        try:
            await super().on_connect_check_health(check_health)
        finally:
            self.client_name = name
        if name:
            await self.send_command("CLIENT", "SETNAME", name, check_health=False)
            with contextlib.suppress(ResponseError):  # denied or renamed: CLIENT LIST shows no name
                await self.read_response()

    async def _connect(self) -> None:
        async with asyncio.timeout(self.socket_connect_timeout):
            addresses = await self.dialer.addresses(self.host)
        for address in addresses[:-1]:
            self._address = address
            try:
                await super()._connect()  # type: ignore[no-untyped-call]
            except OSError:
                continue  # the next one may be reachable
            return
        self._address = addresses[-1]
        await super()._connect()  # type: ignore[no-untyped-call]

    def _connection_arguments(self) -> dict[str, Any]:
        if isinstance(self, SSLConnection):
            self.ssl_context.context = self.dialer.context()
        arguments = dict(super()._connection_arguments())
        if self._address is not None:
            arguments["host"] = self._address
        if "ssl" in arguments and (self._address is not None or self.dialer.server_name is not None):
            arguments["server_hostname"] = self.dialer.server_name or self.host
        return arguments


class _Plain(DialedConnection):
    pass


class _Secure(DialedConnection, SSLConnection):
    pass


class _Local(DialedConnection):
    """A connection over a Unix socket."""

    def __init__(self, *, path: str, **options: Any) -> None:
        self._path = path
        super().__init__(**options)

    async def _connect(self) -> None:
        async with asyncio.timeout(self.socket_connect_timeout):
            self._reader, self._writer = await asyncio.open_unix_connection(self._path)
        await self.on_connect()

    def _host_error(self) -> str:
        return self._path


class _Primary(DialedConnection):
    """A connection that must lead to a primary. A Sentinel that lags behind the others may report the former one.

    Nothing else would reveal a replica: measuring works there, and subscribers receive the replicated messages.
    """

    connection_pool: Any

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)
        # Not ROLE, which is not among the commands that `check --acl` grants.
        await self.send_command("INFO", "replication", check_health=False)
        try:
            info = await self.read_response()
        except ResponseError:  # denied, so the role stays unknown
            return
        if b"role:slave" in info:
            self.connection_pool.sentinel_manager.distrust((self.host, self.port))
            raise RedisConnectionError(
                f"{self.host}:{self.port} is a replica: a Sentinel does not report the new primary yet"
            )


class _PlainPrimary(_Primary, SentinelManagedConnection):
    pass


class _SecurePrimary(_Primary, SentinelManagedSSLConnection):
    pass
