"""As whom we speak to Redis, where it is not a password that stands in the settings."""

import asyncio
import logging
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from redis.credentials import CredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError

from listeners.errors import ConfigurationError
from listeners.runtime.files import read_file

if TYPE_CHECKING:
    from redis.auth.idp import IdentityProviderInterface
    from redis.auth.token import TokenInterface


__all__ = ["EntraTokens", "PasswordFile", "entra_identity", "has_entra", "read_password"]

log = logging.getLogger("triggerfish")

ENTRA_SCOPE = "https://redis.azure.com/.default"
#: The longest wait for a token, and how long after a failure the next one is asked for.
TOKEN_SECONDS = 10.0
RETRY_SECONDS = 5.0
#: The part of a token's time after which it is replaced: Redis disconnects whoever still uses one that has expired.
RENEW_AFTER = 0.7


class PasswordFile(CredentialProvider):
    """The password that a file holds whenever a connection is made."""

    def __init__(self, file: Path, username: str | None) -> None:
        self._file = file
        self._username = username

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The user, if there is one, and the password."""
        try:
            password = read_password(self._file, "password_file")
        except ConfigurationError as error:
            raise RedisConnectionError(str(error)) from None
        return (self._username, password) if self._username else (password,)


def read_password(file: Path, field: str) -> str:
    """A file's text without the line's end. Raises ConfigurationError that names `field` and shows no content."""
    try:
        password = read_file(file, field).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigurationError(field, str(file), "It is not text in UTF-8.") from None
    if not password:
        raise ConfigurationError(field, str(file), "It is empty.")
    return password


class EntraTokens(CredentialProvider):
    """Tokens of Entra ID instead of a password, each used for a part of its time.

    The providers of redis-entraid ask for a token on the event loop, which may take seconds, and stop to renew at the
    first failure: here a thread asks, and one that works is used until it expires while no newer one can be had.
    """

    def __init__(self, make_identity: "Callable[[], IdentityProviderInterface]", username: str | None) -> None:
        self._make_identity = make_identity
        self._identity: IdentityProviderInterface | None = None
        self._username = username
        self._token: TokenInterface | None = None
        self._asking: asyncio.Task[None] | None = None
        #: When connections made with the present token should be made anew (time.monotonic).
        self.renew_at = 0.0

    async def get_credentials_async(self) -> tuple[str, str]:
        """The user, which is the token's object ID if the connection names none, and the token."""
        if time.monotonic() >= self.renew_at:
            await self._renew()
        if self._token is None or self._token.is_expired():
            raise RedisConnectionError("Entra ID gives no token: see what this process may use as its identity.")
        return self._username or str(self._token.try_get("oid")), self._token.get_value()

    async def _renew(self) -> None:
        """Wait for a token that is being asked for; whoever waits at one time shares one thread, and the answer counts
        also if nobody waits any more.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="Entra ID")
        await asyncio.wait({self._asking}, timeout=TOKEN_SECONDS)

    async def _ask(self) -> None:
        token = await asyncio.to_thread(self._request)
        seconds = RETRY_SECONDS
        if token is not None:
            self._token = token
            seconds = max(token.ttl() / 1000, 0.0) * RENEW_AFTER
        self.renew_at = time.monotonic() + seconds

    def _request(self) -> "TokenInterface | None":
        """Blocks: its packages take a second to import, and the network what it takes. None: there is no token.

        The error goes no further, as nobody knows what a provider says in it.
        """
        try:
            if self._identity is None:
                self._identity = self._make_identity()
            return self._identity.request_token()
        except Exception as error:  # noqa: BLE001  (several packages, each with errors of its own)
            log.debug("Entra ID gives no token: %s", type(error).__name__)
            return None


def has_entra() -> bool:
    """Whether the optional packages are there."""
    return find_spec("redis_entraid") is not None


def entra_identity() -> "IdentityProviderInterface":
    """Who this process is on Azure: a workload or managed identity, or what the environment names."""
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415  (optional, and slow to import)
    from redis_entraid.identity_provider import DefaultAzureCredentialProvider  # noqa: PLC0415

    bounds = {"connection_timeout": TOKEN_SECONDS, "read_timeout": TOKEN_SECONDS}
    identity: IdentityProviderInterface = DefaultAzureCredentialProvider(
        DefaultAzureCredential(**bounds), (ENTRA_SCOPE,)
    )
    return identity
