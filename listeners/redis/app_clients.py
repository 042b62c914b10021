"""Clients of redis-py for an app's functions, with the credentials and the TLS of the host's own."""

import asyncio
import re
import threading
from collections.abc import Callable
from typing import Any, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import SentinelConnectionPool as AsyncSentinelPool
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ResponseError
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from listeners.connections.spec import ConnectionSpec
from listeners.connections.tls import tls_context
from listeners.errors import ConfigurationError
from listeners.redis.dialer import Dialer
from listeners.redis.sentinels import Sentinels

__all__ = ["AppClients", "not_on_loop", "running_loop", "would_block"]

MAX_CONNECTIONS = 10
#: To each node of a cluster, where redis-py raises an error instead of waiting for a free connection.
MAX_CLUSTER_CONNECTIONS = 100
#: How long a call waits for a free connection.
POOL_SECONDS = 20.0
CONNECT_TIMEOUT_SECONDS = 3.0
SOCKET_TIMEOUT_SECONDS = 5.0


class AppClients:
    """Two clients for one Redis: one for async functions, and one for those on threads. Each is made at its first use.

    `is_cluster` is asked when one is made. `name` is shown by CLIENT LIST. Replies are bytes. No command is repeated:
    when a reply is lost, it may have been executed.
    """

    def __init__(self, spec: ConnectionSpec, name: str, is_cluster: Callable[[], bool]) -> None:
        self._spec = spec
        self._name = re.sub(r"[^!-~]", "-", name)
        self._is_cluster = is_cluster
        self._async: redis.asyncio.Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sync: redis.Redis | None = None
        self._lock = threading.Lock()

    @property
    def on_loop(self) -> redis.asyncio.Redis:
        """The client for the event loop. Raises ConfigurationError on another thread."""
        loop = running_loop()
        if loop is None or self._loop not in (None, loop):
            raise not_on_loop()
        if self._async is None:
            self._loop = loop
            self._async = self._open_async_cluster() if self._is_cluster() else self._open_async()
        return self._async

    @property
    def on_threads(self) -> redis.Redis:
        """The client for threads. Raises ConfigurationError on an event loop, which it would block."""
        if running_loop() is not None:
            raise would_block()
        with self._lock:
            if self._sync is None:
                self._sync = self._open_sync_cluster() if self._is_cluster() else self._open_sync()
            return self._sync

    async def aclose(self) -> None:
        """Disconnect."""
        if self._async is not None:
            await self._async.aclose()
        if self._sync is not None:
            await asyncio.to_thread(self._sync.close)

    def _open_async(self) -> redis.asyncio.Redis:
        dialer = Dialer(self._spec)
        options = {
            **self._options(dialer),
            "db": self._spec.database,
            "dialer": dialer,
            "retry": AsyncRetry(NoBackoff(), 0),
            "max_connections": MAX_CONNECTIONS,
            "timeout": POOL_SECONDS,
            "connection_class": dialer.connection_class(sentinel=self._spec.service is not None),
        }
        if self._spec.service is not None:
            sentinels = [redis.asyncio.Redis(**options) for options in self._sentinel_options()]
            manager = Sentinels(sentinels)
            pool = _AsyncSentinelPool(self._spec.service, manager, **options)  # type: ignore[no-untyped-call]
            return redis.asyncio.Redis.from_pool(pool)
        return redis.asyncio.Redis.from_pool(redis.asyncio.BlockingConnectionPool(**self._place(), **options))

    def _open_sync(self) -> redis.Redis:
        options = {
            **self._options(Dialer(self._spec)),
            "db": self._spec.database,
            "retry": Retry(NoBackoff(), 0),
            "redis_connect_func": self._connected,
            "max_connections": MAX_CONNECTIONS,
            "timeout": POOL_SECONDS,
            "connection_class": self._sync_connection_class(),
        }
        options.pop("client_name")  # _connected sends it
        if self._spec.tls:
            options["spec"] = self._spec
        if self._spec.service is not None:
            sentinel = Sentinel([])
            sentinel.sentinels = [redis.Redis(**options) for options in self._sentinel_options()]
            pool = _SentinelPool(self._spec.service, sentinel, **options)  # type: ignore[no-untyped-call]
            return redis.Redis.from_pool(pool)
        return redis.Redis.from_pool(redis.BlockingConnectionPool(**self._place(), **options))

    def _open_async_cluster(self) -> redis.asyncio.Redis:
        nodes = [redis.asyncio.cluster.ClusterNode(*endpoint) for endpoint in self._spec.endpoints]
        cluster = redis.asyncio.RedisCluster(
            startup_nodes=nodes, max_connections=MAX_CLUSTER_CONNECTIONS, **self._cluster_options()
        )
        return cast("redis.asyncio.Redis", cluster)

    def _open_sync_cluster(self) -> redis.Redis:
        nodes = [redis.cluster.ClusterNode(*endpoint) for endpoint in self._spec.endpoints]
        cluster = redis.RedisCluster(
            startup_nodes=nodes, max_connections=MAX_CLUSTER_CONNECTIONS, **self._cluster_options()
        )
        return cast("redis.Redis", cluster)

    def _options(self, dialer: Dialer) -> dict[str, Any]:
        """Return what all clients have in common."""
        options: dict[str, Any] = {
            "protocol": 2,
            "client_name": self._name,
            "socket_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
        }
        if dialer.credentials is not None:
            return {**options, "credential_provider": dialer.credentials}
        password = self._spec.password.get_secret_value() if self._spec.password is not None else None
        return {**options, "username": self._spec.username, "password": password}

    def _cluster_options(self) -> dict[str, Any]:
        """Return the options of a cluster's client, which verifies each node by the name that the cluster reports."""
        options = self._options(Dialer(self._spec))
        return {**options, **self._tls_options()}

    def _tls_options(self) -> dict[str, Any]:
        if not self._spec.tls:
            return {}
        return {
            "ssl": True,
            "ssl_ca_certs": self._spec.ca_file,
            "ssl_certfile": self._spec.certificate_file,
            "ssl_keyfile": self._spec.key_file,
        }

    def _sentinel_options(self) -> list[dict[str, Any]]:
        """Return the options of a client for each Sentinel."""
        secret = self._spec.sentinel_password
        options: dict[str, Any] = {
            "username": self._spec.sentinel_username,
            "password": secret.get_secret_value() if secret is not None else None,
            "socket_timeout": SOCKET_TIMEOUT_SECONDS,
            "socket_connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "protocol": 2,
            **self._tls_options(),
        }
        return [{"host": host, "port": port, **options} for host, port in self._spec.endpoints]

    def _place(self) -> dict[str, Any]:
        if self._spec.unix_path is not None:
            return {"path": self._spec.unix_path}
        return {"host": self._spec.host, "port": self._spec.port}

    def _sync_connection_class(self) -> type[Connection]:
        if self._spec.unix_path is not None:
            return cast("type[Connection]", UnixDomainSocketConnection)
        if self._spec.service is not None:
            return _SecurePrimary if self._spec.tls else SentinelManagedConnection
        return _Secure if self._spec.tls else Connection

    def _connected(self, connection: Any) -> None:
        """Authenticate and name a connection. redis-py does not connect if the name is refused."""
        connection.on_connect()
        connection.send_command("CLIENT", "SETNAME", self._name, check_health=False)
        try:
            connection.read_response()
        except ResponseError:  # denied or renamed: CLIENT LIST shows no name
            return


class _Secure(SSLConnection):
    """Has the TLS context of the host's own connections, and the name that the certificate must have."""

    def __init__(self, *, spec: ConnectionSpec, **options: Any) -> None:
        self._spec = spec
        super().__init__(**options)

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        return tls_context(self._spec).wrap_socket(sock, server_hostname=self._spec.server_name or self.host)


class _SecurePrimary(_Secure, SentinelManagedSSLConnection):
    """The same to the primary that Sentinels report."""


class _AsyncSentinelPool(AsyncSentinelPool, redis.asyncio.BlockingConnectionPool):
    """Waits for a free connection, as the pool of a single server does."""


class _SentinelPool(SentinelConnectionPool, redis.BlockingConnectionPool):
    """Waits for a free connection, as the pool of a single server does."""


def not_on_loop() -> ConfigurationError:
    """Return the error for an async client that is used on a thread."""
    fix = "It is for code on the host's event loop. A `def` function runs on a thread: use context.redis_sync."
    return ConfigurationError("context.redis", None, fix)


def would_block() -> ConfigurationError:
    """Return the error for a blocking client that is used on an event loop."""
    fix = "It would block the event loop, on which this code runs. Use `await context.redis...`."
    return ConfigurationError("context.redis_sync", None, fix)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop on which the code runs; None on a thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
