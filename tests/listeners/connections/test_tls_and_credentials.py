"""TLS, client certificates, password files and tokens between us and a real Redis."""

import asyncio
import contextlib
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
from listeners.errors import AccessDeniedError, ConfigurationError, SourceUnavailableError
from listeners.redis.client import Client
from tests.servers.catalogue import RELEASES
from tests.servers.secured import Secured
from tests.support.certificates import Authority
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

SECRET = "hunter2"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    """A Redis that demands a client certificate."""
    made = Secured(tmp_path)
    yield made
    made.server.stop()


@pytest.fixture
def one_sided(tmp_path: Path) -> Iterator[Secured]:
    """A Redis with TLS that asks for no client certificate."""
    made = Secured(tmp_path, "--tls-auth-clients", "no")
    yield made
    made.server.stop()


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
    """Whether the server answers."""
    return bool(await client.command(None, "PING", doing="PING") == b"PONG")


async def test_tls_with_a_client_certificate(secured: Secured) -> None:
    """With the CA and a certificate of ours we are served; without ours, or without the CA, we are not."""
    folder = secured.folder
    ours = {"certificate_file": folder / "tls.crt", "key_file": folder / "tls.key"}
    async with connected(secured.settings(ca_file=folder / "ca.crt", **ours)) as client:
        assert await ping(client)
    for missing in (secured.settings(ca_file=folder / "ca.crt"), secured.settings(**ours)):
        async with connected(missing) as client:
            with pytest.raises(SourceUnavailableError):
                await ping(client)


async def test_a_server_of_another_name(one_sided: Secured) -> None:
    """A server whose certificate is for another host is refused, also if its CA is the right one."""
    spec = one_sided.settings(ca_file=one_sided.folder / "ca.crt").spec("connections.cache")
    async with connected(spec) as client:
        assert await ping(client)
    one_sided.authority.write(one_sided.folder, "elsewhere.example")
    with one_sided.server.client() as plain:
        for part, file in (("cert", "tls.crt"), ("key", "tls.key")):
            plain.config_set(f"tls-{part}-file", str(one_sided.folder / file))
    async with connected(spec) as client:
        with pytest.raises(SourceUnavailableError):
            await ping(client)


async def test_files_are_read_for_each_connection(secured: Secured, tmp_path: Path) -> None:
    """A client certificate that was replaced is used when the next connection is made, without a new client."""
    folder = secured.folder
    mine = tmp_path / "mine"
    secured.authority.write(mine)
    settings = secured.settings(ca_file=folder / "ca.crt", certificate_file=mine / "tls.crt", key_file=mine / "tls.key")
    async with connected(settings) as client:
        assert await ping(client)
        Authority().sign().write(mine)  # of an authority that the server does not know
        await killed(secured.server)
        with pytest.raises(SourceUnavailableError):
            await eventually(lambda: always_pings(client))
        secured.authority.sign().write(mine)
        assert await eventually(lambda: pings(client))


async def killed(server: Server) -> None:
    """Every client is disconnected."""
    with server.client() as plain:
        plain.client_kill_filter(_type="normal", skipme=True)


async def always_pings(client: Client) -> bool:
    await ping(client)
    return False


async def pings(client: Client) -> bool:
    """Whether the server answers now."""
    with contextlib.suppress(SourceUnavailableError, AccessDeniedError):
        return await ping(client)
    return False


async def test_a_user_and_a_password_file(one_sided: Secured, tmp_path: Path) -> None:
    """An ACL user's password comes from a file, and a new one is used when the next connection is made."""
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    with one_sided.server.client() as plain:
        plain.acl_setuser("ann", enabled=True, passwords=[f"+{SECRET}"], commands=["+@all"], keys=["*"])
        settings = ConnectionSettings.model_validate(
            {"connection_string": f"{one_sided.server.address},user=ann", "password_file": file}
        )
        async with connected(settings) as client:
            assert await client.command(None, "ACL", "WHOAMI", doing="asking") == b"ann"
            plain.acl_setuser("ann", enabled=True, reset_passwords=True, passwords=["+another"])
            await killed(one_sided.server)
            with pytest.raises(AccessDeniedError) as caught:
                await eventually(lambda: denied(client))
            assert SECRET not in str(caught.value)
            file.write_text("another")
            assert await eventually(lambda: pings(client))
            file.unlink()
            await killed(one_sided.server)
            with pytest.raises(SourceUnavailableError, match="password_file"):
                await eventually(lambda: denied(client))


async def denied(client: Client) -> bool:
    """False while connections go on or are being cut; raises what denies one for good."""
    try:
        await ping(client)
    except SourceUnavailableError as error:
        if "password_file" in str(error):
            raise
    return False


async def test_the_default_users_password_file(tmp_path: Path) -> None:
    """Without a user the file holds the password of `requirepass`."""
    file = tmp_path / "password"
    file.write_text(SECRET)
    with RELEASES["redis-5.0"].start() as server, server.client() as plain:
        plain.config_set("requirepass", SECRET)
        settings = ConnectionSettings.model_validate({"connection_string": server.address, "password_file": file})
        async with connected(settings) as client:
            assert await ping(client)


class FakeEntra(IdentityProviderInterface):
    """Not Entra ID: gives tokens of its own making, for the user `oid` in them. What is real is Redis, whose ACL has
    these tokens as passwords, and everything between.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.given: list[str] = []
        self.down = False

    def request_token(self, force_refresh: bool = False) -> SimpleToken:
        """A token that is good for so many seconds."""
        if self.down:
            raise RequestTokenErr(f"{SECRET} is in what an identity provider says")
        self.given.append(f"{SECRET}-{len(self.given)}")
        now = time.time() * 1000
        return SimpleToken(self.given[-1], now + self.seconds * 1000, now, {"oid": "the-object-id"})


@pytest.fixture
def entra(monkeypatch: pytest.MonkeyPatch) -> FakeEntra:
    """What connections with `entra` ask for tokens."""
    fake = FakeEntra(seconds=3600)
    monkeypatch.setattr("listeners.redis.dialer.entra_identity", lambda: fake)
    monkeypatch.setattr("listeners.connections.credentials.RETRY_SECONDS", 0.02)
    return fake


def accept(server: Server, token: str) -> None:
    """Let the token's user in with this token and no other."""
    with server.client() as plain:
        plain.acl_setuser(
            "the-object-id", enabled=True, reset_passwords=True, passwords=[f"+{token}"], commands=["+@all"], keys=["*"]
        )


async def test_tokens_instead_of_a_password(one_sided: Secured, entra: FakeEntra) -> None:
    """With `entra` we are the token's user; one token serves all connections."""
    accept(one_sided.server, f"{SECRET}-0")
    async with connected(one_sided.settings(ca_file=one_sided.folder / "ca.crt", entra=True)) as client:
        users = await asyncio.gather(*(client.command(None, "ACL", "WHOAMI", doing="asking") for _ in range(5)))
        assert set(users) == {b"the-object-id"}
        assert entra.given == [f"{SECRET}-0"]


async def test_tokens_are_renewed(one_sided: Secured, entra: FakeEntra) -> None:
    """Before a token expires the next one is used, on a new connection; the client is never turned away."""
    entra.seconds = 1.0
    accept(one_sided.server, f"{SECRET}-0")
    async with connected(one_sided.settings(ca_file=one_sided.folder / "ca.crt", entra=True)) as client:
        first = await client.command(None, "CLIENT", "ID", doing="asking")
        accept(one_sided.server, f"{SECRET}-1")
        entra.seconds = 3600

        async def another() -> bool:
            return bool(await client.command(None, "CLIENT", "ID", doing="asking") != first)

        await eventually(another)
        assert entra.given == [f"{SECRET}-0", f"{SECRET}-1"]


async def test_no_token(one_sided: Secured, entra: FakeEntra) -> None:
    """While no token can be had Redis is unavailable, with no word of what the provider said; then it works."""
    accept(one_sided.server, f"{SECRET}-0")
    entra.down = True
    async with connected(one_sided.settings(ca_file=one_sided.folder / "ca.crt", entra=True)) as client:
        with pytest.raises(SourceUnavailableError, match="Entra ID gives no token") as caught:
            await ping(client)
        assert SECRET not in str(caught.value)
        entra.down = False
        assert await eventually(lambda: pings(client))


async def test_a_slow_provider(one_sided: Secured, entra: FakeEntra, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that comes after whoever asked has given up serves the next one, and blocks nobody meanwhile."""
    accept(one_sided.server, f"{SECRET}-0")
    may_answer, request = threading.Event(), entra.request_token
    monkeypatch.setattr(entra, "request_token", lambda: may_answer.wait(30) and request())
    async with connected(one_sided.settings(ca_file=one_sided.folder / "ca.crt", entra=True)) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ping(client)
        may_answer.set()
        assert await ping(client)
        assert entra.given == [f"{SECRET}-0"]


def test_the_identity_of_this_process() -> None:
    """The optional packages are there and fit: an identity is made, and nobody is asked yet."""
    assert isinstance(entra_identity(), IdentityProviderInterface)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"connection_string": f"h,password={SECRET}", "password_file": "/dev/null"}, "more than one"),
        ({"connection_string": f"h,ssl=True,password={SECRET}", "entra": True}, "more than one"),
        ({"connection_string": "h", "entra": True}, "need TLS"),
        ({"connection_string": "h", "ca_file": "ca"}, "need TLS"),
        ({"connection_string": "unix:///r.sock", "ca_file": "ca"}, "need TLS"),
        ({"connection_string": "h,ssl=True", "key_file": "key"}, "go together"),
        ({"connection_string": "h,ssl=True", "certificate_file": "certificate"}, "go together"),
        ({"connection_string": "h", "password_file": "missing"}, "password_file 'missing': It cannot be read"),
        ({"connection_string": "h", "password_file": "/dev/null"}, "It is not a file"),
        ({"connection_string": "h", "password_file": "empty"}, "It is empty"),
        ({"connection_string": "h", "password_file": "bytes"}, "not text"),
        ({"connection_string": "h,ssl=True", "ca_file": "missing"}, "ca_file 'missing': It cannot be read"),
        ({"connection_string": "h,ssl=True", "ca_file": "secret"}, "no certificates in PEM"),
        ({"connection_string": "h,ssl=True", "certificate_file": "secret", "key_file": "secret"}, "in PEM"),
        ({"connection_string": "h:port"}, "port is not a number"),
    ],
)
def test_settings_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], word: str
) -> None:
    """Contradictions, and files that cannot be used, are an error that names the connection and shows no secret."""
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
    """Where the optional packages are missing, `entra` is an error that says what to install."""
    monkeypatch.setattr("listeners.connections.settings.has_entra", lambda: False)
    settings = ConnectionSettings.model_validate({"connection_string": "h,ssl=True", "entra": True})
    with pytest.raises(ConfigurationError, match=r"connections\.cache\.entra: .*triggerfish\[entraid\]"):
        settings.spec("connections.cache")
