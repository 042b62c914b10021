"""How connections are opened: the hosts they may lead to, TLS, and credentials."""

import asyncio
import math
import socket
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
from redis.exceptions import ResponseError

from listeners.connections.allowed_hosts import host_matches, is_remote_address
from listeners.connections.credentials import EntraTokens, PasswordFile, entra_identity
from listeners.connections.spec import ConnectionSpec
from listeners.connections.tls import tls_context
from listeners.runtime.files import FileWatch, file_stamp

__all__ = ["Dialer"]

#: After a reply that took more reads, of up to 64 KiB each, its buffer is freed.
MAX_READS = 16


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
        self.credentials = _credentials(spec)

    def connection_class(self, *, sentinel: bool = False) -> type[Connection]:
        """Return the class of connections to a server, or to the primary that Sentinels report."""
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

    async def addresses(self, host: str, port: int) -> list[str]:
        """Resolve a host to its addresses. Raises an error of redis-py if the host may not be connected to.

        Connect to these addresses, not to the name: a second lookup may return others.
        """
        if self.allowed is None or not self.allowed(host):
            raise RedisConnectionError(f"{host} is not one of the allowed hosts")
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        if not addresses or not all(map(is_remote_address, addresses)):
            raise RedisConnectionError(f"{host} has a loopback, link-local, unspecified or multicast address")
        return addresses


def _credentials(spec: ConnectionSpec) -> CredentialProvider | None:
    if spec.entra:
        return EntraTokens(entra_identity, spec.username)
    return PasswordFile(Path(spec.password_file), spec.username) if spec.password_file is not None else None


class _Parser(_AsyncHiredisParser):
    """Counts its reads, which shows whether a late reply is arriving, and keeps no buffer that a large reply needed."""

    __slots__ = ("_connection", "_read_at_last_reply", "reads")

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self.reads = 0
        self._read_at_last_reply = 0

    def on_connect(self, connection: Any) -> None:
        """Begin with an empty buffer."""
        self._connection = connection
        super().on_connect(connection)  # type: ignore[no-untyped-call]

    async def read_from_socket(self) -> bool:
        """Read what has arrived."""
        self.reads += 1
        return bool(await super().read_from_socket())  # type: ignore[no-untyped-call]

    async def read_response(self, *arguments: Any, **keywords: Any) -> Any:
        """Return the next reply."""
        reply = await super().read_response(*arguments, **keywords)
        is_large = self.reads - self._read_at_last_reply > MAX_READS
        if is_large and self._connected and self._reader is not None and not self._reader.has_data():
            # hiredis keeps a buffer as large as the reply until it reads again. Only a new reader has a small one.
            self.on_connect(self._connection)
        self._read_at_last_reply = self.reads
        return reply


class _DialedConnection(Connection):
    """A connection that its dialer configures: allowed addresses, TLS files and credentials."""

    def __init__(self, *, dialer: Dialer, **options: Any) -> None:
        self._dialer = dialer
        self._address: str | None = None
        self._reconnect_at = math.inf
        super().__init__(parser_class=_Parser, **options)

    async def connect(self) -> None:
        """Connect unless connected with current credentials. The pool calls this before it hands out a connection."""
        if self.is_connected:
            if time.monotonic() < self._reconnect_at:
                return
            await self.disconnect()
        try:
            await super().connect()  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            # Otherwise a connection with an incomplete handshake counts as connected, and the pool hands it out.
            await self.disconnect(nowait=True)
            raise

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send a command. redis-py starts a task per command to bound the write, which only a stalled write needs."""
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
            self._reconnect_at = self._dialer.reconnect_at
        await super().on_connect_check_health(check_health)

    async def _connect(self) -> None:
        if self._dialer.allowed is None:
            await super()._connect()  # type: ignore[no-untyped-call]
            return
        async with asyncio.timeout(self.socket_connect_timeout):
            addresses = await self._dialer.addresses(self.host, self.port)
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
            self.ssl_context.context = self._dialer.context()
        arguments = dict(super()._connection_arguments())
        if self._address is not None:
            arguments["host"] = self._address
            if "ssl" in arguments:
                arguments["server_hostname"] = self.host
        return arguments


class _Plain(_DialedConnection):
    pass


class _Secure(_DialedConnection, SSLConnection):
    pass


class _Primary(_DialedConnection):
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
