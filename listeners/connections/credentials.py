"""Credential providers: password files and Entra ID tokens."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

from listeners.errors import ConfigurationError
from listeners.runtime.files import read_file
from listeners.runtime.logs import steady_logger
from listeners.runtime.threads import on_own_thread

if TYPE_CHECKING:
    from redis.auth.idp import IdentityProviderInterface
    from redis.auth.token import TokenInterface


__all__ = ["EntraTokens", "PasswordFile", "entra_identity", "read_password"]

log = steady_logger("triggerfish")

ENTRA_SCOPE = "https://redis.azure.com/.default"
#: How long a connection waits for a token, and how long after a failure the next request is made.
TOKEN_SECONDS = 10.0
RETRY_SECONDS = 5.0
#: The fraction of a token's lifetime after which it is renewed. Redis disconnects clients whose token has expired.
RENEW_AFTER = 0.7


class PasswordFile(CredentialProvider):
    """Reads the password from a file for each new connection."""

    def __init__(self, file: Path, username: str | None) -> None:
        self._file = file
        self._username = username

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return the user, if there is one, and the password."""
        return self.get_credentials()

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the same on a thread."""
        try:
            password = read_password(self._file, "password_file")
        except ConfigurationError as error:
            raise RedisConnectionError(str(error)) from None
        return (self._username, password) if self._username else (password,)


def read_password(file: Path, field: str) -> str:
    """Return a file's text without trailing line breaks. Raises ConfigurationError that names `field` and never shows
    the file's content.
    """
    try:
        password = read_file(file, field).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError(field, str(file), "It is not UTF-8 text. Write only the password into it.") from None
    if not password:
        raise ConfigurationError(field, str(file), "It is empty. Write the password into it.")
    return password


class EntraTokens(CredentialProvider):
    """Provides Entra ID tokens instead of a password and renews each before it expires.

    The providers of redis-entraid request tokens on the event loop, which may block it for seconds, and stop renewing
    at the first failure. This one requests them in a thread, and uses a token until it expires if it cannot be renewed.
    It provides them either on one event loop, or on threads.
    """

    def __init__(self, make_identity: "Callable[[], IdentityProviderInterface]", username: str | None) -> None:
        self._make_identity = make_identity
        self._identity: IdentityProviderInterface | None = None
        self._username = username
        self._token: TokenInterface | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._renewing = threading.Lock()
        #: When connections that use the current token should be replaced (time.monotonic).
        self.renew_at = 0.0

    async def get_credentials_async(self) -> tuple[str, str]:
        """Return the user, by default the token's object ID, and the token."""
        if time.monotonic() >= self.renew_at:
            await self._renew()
        return self._current()

    def get_credentials(self) -> tuple[str, str]:
        """Return the same on a thread, which it blocks for the request."""
        with self._renewing:
            if time.monotonic() >= self.renew_at:
                self._keep(self._request())
            return self._current()

    def _current(self) -> tuple[str, str]:
        if self._token is None or self._token.is_expired():
            raise RedisConnectionError("no token from Entra ID: check the identity of this process")
        return self._username or str(self._token.try_get("oid")), self._token.get_value()

    async def _renew(self) -> None:
        """Request a token and wait for it, at most TOKEN_SECONDS. Concurrent callers share one request, and its result
        is kept even if all of them have stopped waiting.
        """
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._fetch(), name="Entra ID")
        await asyncio.wait({self._renewal}, timeout=TOKEN_SECONDS)

    async def _fetch(self) -> None:
        self._keep(await on_own_thread(self._request, name="Entra ID"))

    def _keep(self, token: "TokenInterface | None") -> None:
        seconds = RETRY_SECONDS
        if token is not None:
            self._token = token
            seconds = max(token.ttl() / 1000, 0.0) * RENEW_AFTER
        self.renew_at = time.monotonic() + seconds

    def _request(self) -> "TokenInterface | None":
        """Request a token; None if there is none. Blocks for the import of the packages (a second) and the request.

        The error is not passed on, because a provider's message may contain a secret.
        """
        try:
            if self._identity is None:
                self._identity = self._make_identity()
            return self._identity.request_token()
        except Exception as error:  # noqa: BLE001  (several packages raise their own errors)
            log.debug("no token from Entra ID: %s", type(error).__name__)
            return None


def entra_identity() -> "IdentityProviderInterface":
    """Return this process's identity on Azure: a workload or managed identity, or one from the environment."""
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415  (optional, and slow to import)
    from redis_entraid.identity_provider import DefaultAzureCredentialProvider  # noqa: PLC0415

    bounds = {"connection_timeout": TOKEN_SECONDS, "read_timeout": TOKEN_SECONDS}
    identity: IdentityProviderInterface = DefaultAzureCredentialProvider(
        DefaultAzureCredential(**bounds), (ENTRA_SCOPE,)
    )
    return identity
