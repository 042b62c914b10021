"""TLS, client certificates, password files and tokens with a real Redis."""

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.auth.err import RequestTokenErr
from redis.auth.idp import IdentityProviderInterface
from redis.auth.token import SimpleToken

from listeners.connections.credentials import entra_identity
from listeners.connections.settings import ConnectionSettings
from listeners.connections.spec import ConnectionSpec
from listeners.errors import AccessDeniedError, ConfigurationError, MissingExtraError, SourceUnavailableError
from listeners.redis.client import Client
from tests.servers.catalogue import RELEASES
from tests.servers.secured import Secured
from tests.support.network.certificates import Authority
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

SECRET = "hunter2"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    """A Redis that requires a client certificate."""
    secured = Secured(tmp_path)
    yield secured
    secured.server.stop()


@pytest.fixture
def server_tls(tmp_path: Path) -> Iterator[Secured]:
    """A Redis with TLS that requires no client certificate."""
    secured = Secured(tmp_path, "--tls-auth-clients", "no")
    yield secured
    secured.server.stop()


@contextlib.asynccontextmanager
async def connected(settings: ConnectionSettings | ConnectionSpec) -> AsyncIterator[Client]:
    """A client, closed after the block."""
    spec = settings.spec("connections.cache") if isinstance(settings, ConnectionSettings) else settings
    client = Client(spec, "test", timeout_seconds=2)
    try:
        yield client
    finally:
        await client.aclose()


async def ping(client: Client) -> bool:
    """Send a ping. Returns whether the reply is right."""
    return bool(await client.command(None, "PING", doing="PING") == b"PONG")


async def test_tls_with_a_client_certificate(secured: Secured) -> None:
    """With the CA and a client certificate the connection works; without either of them it fails."""
    folder = secured.folder
    client_files = {"certificate_file": folder / "tls.crt", "key_file": folder / "tls.key"}
    async with connected(secured.settings(ca_file=folder / "ca.crt", **client_files)) as client:
        assert await ping(client)
    for missing in (secured.settings(ca_file=folder / "ca.crt"), secured.settings(**client_files)):
        async with connected(missing) as client:
            with pytest.raises(SourceUnavailableError):
                await ping(client)


async def test_a_certificate_for_another_host(server_tls: Secured) -> None:
    """A server whose certificate is for another host is refused, even if its CA is trusted."""
    spec = server_tls.settings(ca_file=server_tls.folder / "ca.crt").spec("connections.cache")
    async with connected(spec) as client:
        assert await ping(client)
    server_tls.authority.write(server_tls.folder, "elsewhere.example")
    with server_tls.server.client() as plain:
        for part, file in (("cert", "tls.crt"), ("key", "tls.key")):
            plain.config_set(f"tls-{part}-file", str(server_tls.folder / file))
    async with connected(spec) as client:
        with pytest.raises(SourceUnavailableError):
            await ping(client)


async def test_files_are_read_for_each_connection(secured: Secured, tmp_path: Path) -> None:
    """A replaced client certificate is used for the next connection, without a new client."""
    folder = secured.folder
    mine = tmp_path / "mine"
    secured.authority.write(mine)
    settings = secured.settings(ca_file=folder / "ca.crt", certificate_file=mine / "tls.crt", key_file=mine / "tls.key")
    async with connected(settings) as client:
        assert await ping(client)
        Authority().sign().write(mine)  # from an authority that the server does not trust
        await kill_clients(secured.server)
        with pytest.raises(SourceUnavailableError):
            await eventually(lambda: ping_until_error(client))
        secured.authority.sign().write(mine)
        assert await eventually(lambda: is_up(client))


async def kill_clients(server: Server) -> None:
    """Disconnect every client."""
    with server.client() as plain:
        plain.client_kill_filter(_type="normal", skipme=True)


async def ping_until_error(client: Client) -> bool:
    """Send a ping. Returns False, so that `eventually` repeats it until it raises."""
    await ping(client)
    return False


async def is_up(client: Client) -> bool:
    """Return whether the server answers now."""
    with contextlib.suppress(SourceUnavailableError, AccessDeniedError):
        return await ping(client)
    return False


async def test_a_user_and_a_password_file(server_tls: Secured, tmp_path: Path) -> None:
    """An ACL user's password is read from a file, and a new one is used for the next connection."""
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    with server_tls.server.client() as plain:
        plain.acl_setuser("ann", enabled=True, passwords=[f"+{SECRET}"], commands=["+@all"], keys=["*"])
        settings = ConnectionSettings.model_validate(
            {"connection_string": f"{server_tls.server.address},user=ann", "password_file": file}
        )
        async with connected(settings) as client:
            assert await client.command(None, "ACL", "WHOAMI", doing="asking") == b"ann"
            plain.acl_setuser("ann", enabled=True, reset_passwords=True, passwords=["+another"])
            await kill_clients(server_tls.server)
            with pytest.raises(AccessDeniedError) as caught:
                await eventually(lambda: ping_until_denied(client))
            assert SECRET not in str(caught.value)
            file.write_text("another")
            assert await eventually(lambda: is_up(client))
            file.unlink()
            await kill_clients(server_tls.server)
            with pytest.raises(SourceUnavailableError, match="password_file"):
                await eventually(lambda: ping_until_denied(client))


async def ping_until_denied(client: Client) -> bool:
    """Return False while connections work or are being cut. Raises the error of a denied one."""
    try:
        await ping(client)
    except SourceUnavailableError as error:
        if "password_file" in str(error):
            raise
    return False


async def test_the_default_users_password_file(tmp_path: Path) -> None:
    """Without a user, the file holds the password of `requirepass`."""
    file = tmp_path / "password"
    file.write_text(SECRET)
    with RELEASES["redis-5.0"].start() as server, server.client() as plain:
        plain.config_set("requirepass", SECRET)
        settings = ConnectionSettings.model_validate({"connection_string": server.address, "password_file": file})
        async with connected(settings) as client:
            assert await ping(client)


class FakeEntra(IdentityProviderInterface):
    """Issues fake tokens, whose `oid` is the user. Redis is real and has these tokens as passwords in its ACL."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.issued: list[str] = []
        self.down = False

    def request_token(self, force_refresh: bool = False) -> SimpleToken:
        """Return a token that is valid for `seconds`."""
        if self.down:
            raise RequestTokenErr(f"an identity provider's error may contain {SECRET}")
        self.issued.append(f"{SECRET}-{len(self.issued)}")
        now = time.time() * 1000
        return SimpleToken(self.issued[-1], now + self.seconds * 1000, now, {"oid": "the-object-id"})


@pytest.fixture
def entra(monkeypatch: pytest.MonkeyPatch) -> FakeEntra:
    """The identity provider of connections with `entra`."""
    fake = FakeEntra(seconds=3600)
    monkeypatch.setattr("listeners.redis.dialer.entra_identity", lambda: fake)
    monkeypatch.setattr("listeners.connections.credentials.RETRY_SECONDS", 0.02)
    return fake


def accept(server: Server, token: str) -> None:
    """Make the server accept this token for its user, and no other token."""
    with server.client() as plain:
        plain.acl_setuser(
            "the-object-id", enabled=True, reset_passwords=True, passwords=[f"+{token}"], commands=["+@all"], keys=["*"]
        )


async def test_tokens_instead_of_a_password(server_tls: Secured, entra: FakeEntra) -> None:
    """With `entra`, connections log in as the token's user and share one token."""
    accept(server_tls.server, f"{SECRET}-0")
    async with connected(server_tls.settings(ca_file=server_tls.folder / "ca.crt", entra=True)) as client:
        users = await asyncio.gather(*(client.command(None, "ACL", "WHOAMI", doing="asking") for _ in range(5)))
        assert set(users) == {b"the-object-id"}
        assert entra.issued == [f"{SECRET}-0"]


async def test_tokens_are_renewed(server_tls: Secured, entra: FakeEntra) -> None:
    """Before a token expires, a new connection uses the next one, and no command is denied."""
    entra.seconds = 1.0
    accept(server_tls.server, f"{SECRET}-0")
    async with connected(server_tls.settings(ca_file=server_tls.folder / "ca.crt", entra=True)) as client:
        first = await client.command(None, "CLIENT", "ID", doing="asking")
        accept(server_tls.server, f"{SECRET}-1")
        entra.seconds = 3600

        async def another() -> bool:
            return bool(await client.command(None, "CLIENT", "ID", doing="asking") != first)

        await eventually(another)
        assert entra.issued == [f"{SECRET}-0", f"{SECRET}-1"]


async def test_no_token(server_tls: Secured, entra: FakeEntra) -> None:
    """Without a token, Redis is unavailable and the error hides the provider's message. With one, commands work."""
    accept(server_tls.server, f"{SECRET}-0")
    entra.down = True
    async with connected(server_tls.settings(ca_file=server_tls.folder / "ca.crt", entra=True)) as client:
        with pytest.raises(SourceUnavailableError, match="no token from Entra ID") as caught:
            await ping(client)
        assert SECRET not in str(caught.value)
        entra.down = False
        assert await eventually(lambda: is_up(client))


async def test_a_slow_provider(server_tls: Secured, entra: FakeEntra, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that arrives after its caller has given up is used by the next one. The event loop is not blocked."""
    accept(server_tls.server, f"{SECRET}-0")
    may_reply, request = threading.Event(), entra.request_token
    monkeypatch.setattr(entra, "request_token", lambda: may_reply.wait(30) and request())
    async with connected(server_tls.settings(ca_file=server_tls.folder / "ca.crt", entra=True)) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ping(client)
        may_reply.set()
        assert await ping(client)
        assert entra.issued == [f"{SECRET}-0"]


def test_the_identity_of_this_process() -> None:
    """The optional packages are installed and compatible. Creating an identity requests no token."""
    assert isinstance(entra_identity(), IdentityProviderInterface)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"connection_string": f"h,password={SECRET}", "password_file": "/dev/null"}, "more than one"),
        ({"connection_string": f"h,ssl=True,password={SECRET}", "entra": True}, "more than one"),
        ({"connection_string": "h:1", "entra": True}, "need TLS"),
        ({"connection_string": "h:1", "ca_file": "ca"}, "need TLS"),
        ({"connection_string": "h:1", "server_name": "name"}, "need TLS"),
        ({"connection_string": "h,ssl=True,sslHost=a", "server_name": "b"}, "Keep one"),
        ({"connection_string": "h,ssl=True", "server_name": ""}, "not a host name"),
        ({"connection_string": "h,ssl=True", "server_name": "a..b"}, "not a host name"),
        ({"connection_string": "h:1", "password": ""}, "It is empty"),
        ({"connection_string": f"h,password={SECRET}", "password": SECRET}, "more than one"),
        ({"connection_string": "h:1", "password": SECRET, "password_file": "/dev/null"}, "more than one"),
        ({"connection_string": "h,ssl=True", "password": SECRET, "entra": True}, "more than one"),
        ({"connection_string": "unix:///r.sock", "ca_file": "ca"}, "need TLS"),
        ({"connection_string": "h,ssl=True", "key_file": "key"}, "go together"),
        ({"connection_string": "h,ssl=True", "certificate_file": "certificate"}, "go together"),
        ({"connection_string": "h:1", "password_file": "missing"}, "password_file 'missing': It cannot be read"),
        ({"connection_string": "h:1", "password_file": "/dev/null"}, "It is not a file"),
        ({"connection_string": "h:1", "password_file": "empty"}, "It is empty"),
        ({"connection_string": "h:1", "password_file": "bytes"}, "not UTF-8 text"),
        ({"connection_string": "h,ssl=True", "ca_file": "missing"}, "ca_file 'missing': It cannot be read"),
        ({"connection_string": "h,ssl=True", "ca_file": "secret"}, "no certificates in PEM"),
        ({"connection_string": "h,ssl=True", "certificate_file": "secret", "key_file": "secret"}, "in PEM"),
        ({"connection_string": "h:port"}, "port is not a whole number"),
    ],
)
def test_unusable_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], word: str
) -> None:
    """The error about contradictory options or an unusable file names the connection and shows no secret."""
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("\n")
    Path("bytes").write_bytes(b"\xff")
    Path("secret").write_text(SECRET)
    with pytest.raises(ConfigurationError) as caught:
        ConnectionSettings.model_validate(settings).spec("connections.cache")
    assert caught.value.field.startswith("connections.cache")
    assert word in str(caught.value)
    assert SECRET not in str(caught.value)


def test_entra_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional packages, the error about `entra` names what to install."""
    monkeypatch.setitem(sys.modules, "redis_entraid", None)
    settings = ConnectionSettings.model_validate({"connection_string": "h,ssl=True", "entra": True})
    with pytest.raises(
        MissingExtraError, match=r"connections\.cache\.entra True: .*pip install 'triggerfish\[entraid\]'"
    ):
        settings.spec("connections.cache")
