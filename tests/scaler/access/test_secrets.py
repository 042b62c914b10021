"""No output of the scaler contains a secret: logs, replies, metrics, pages, errors and reprs, at any log level."""

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from redis.auth.err import RequestTokenErr
from redis.auth.idp import IdentityProviderInterface
from redis.auth.token import TokenInterface

from listeners.connections.credentials import EntraTokens, PasswordFile
from listeners.connections.spec import ConnectionSpec
from listeners.redis.dialer import Dialer
from listeners.redis.topology import Topology
from scaler.access.access import Access
from scaler.access.connection_files import ConnectionFiles
from scaler.evaluation.evaluator import TrackedTrigger
from scaler.keda.certificates import Certificates
from scaler.measuring.sampler import Sampler
from scaler.settings import Settings
from tests.servers.secured import Secured
from tests.support.running_scaler import CALL_SECONDS, RunningScaler, reference, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

SECRET = "hunter2"
#: Classes whose objects may hold a secret while the scaler runs.
HOLDERS = (
    Access, Certificates, ConnectionFiles, ConnectionSpec, Dialer, EntraTokens, PasswordFile, Sampler, Settings,
    Topology, TrackedTrigger,
)  # fmt: skip


class LeakyProvider(IdentityProviderInterface):
    """An identity provider whose error contains a secret."""

    def request_token(self, force_refresh: bool = False) -> TokenInterface:
        raise RequestTokenErr(f"the client secret {SECRET} has expired")


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    """A server with TLS, and a user `ann` with the secret as password."""
    made = Secured(tmp_path / "tls", "--tls-auth-clients", "no")
    with made.server.client() as client:
        client.acl_setuser("ann", enabled=True, passwords=[f"+{SECRET}"], keys=["*"], commands=["+@all"])
        client.set("text", "x")
    yield made
    made.server.stop()


def create_files(folder: Path, server: Server) -> Path:
    """Create a folder of connections: valid ones, and each kind of broken one."""
    folder.mkdir()
    (folder.parent / "password").write_text(f"{SECRET}\n")
    (folder.parent / "wrong").write_text(f"{SECRET}-wrong\n")
    for name, text in {
        "mounted": f"{server.address},user=ann,password={SECRET}",
        "mounted-wrong": f"{server.address},user=ann,password={SECRET}-wrong",
        "mounted-file": f"connection_string: {server.address},user=ann\npassword_file: {folder.parent / 'password'}",
        "mounted-typo": f"{server.address},pasword={SECRET}",
        "mounted-yaml": f"connection_string: {server.address}\npassword: {SECRET}",
        "mounted-bad": f"connection_string: [{SECRET}",
    }.items():
        (folder / name).write_text(text)
    return folder


def connections(folder: Path, secured: Secured) -> dict[str, Any]:
    """Return connections for the settings: right and wrong passwords in strings, URLs and files, and tokens."""
    server, ca_file = secured.server, secured.folder / "ca.crt"
    user = f"{server.address},user=ann"
    return {
        "string": f"{user},password={SECRET}",
        "url": f"redis://ann:{SECRET}@{server.address}",
        "wrong": f"{user},password={SECRET}-wrong",
        "file": {"connection_string": user, "password_file": folder / "password"},
        "wrong-file": {"connection_string": user, "password_file": folder / "wrong"},
        "secure": {"connection_string": f"rediss://ann:{SECRET}@127.0.0.1:{secured.tls_port}", "ca_file": ca_file},
        "untrusted": f"rediss://ann:{SECRET}@127.0.0.1:{secured.tls_port}",
        "tls": f"rediss://ann:{SECRET}@{server.address}",
        "entra": {"connection_string": f"127.0.0.1:{secured.tls_port},ssl=True", "entra": True, "ca_file": ca_file},
        "sentinels": f"{server.address},serviceName=main,password={SECRET},sentinelPassword={SECRET}",
        "several": f"{server.address},127.0.0.1:1,user=ann,password={SECRET}",
        "closed": f"127.0.0.1:1,password={SECRET}",
    }


async def replies(scaler: RunningScaler, metadata: dict[str, str]) -> list[str]:
    """Return the replies to each of KEDA's calls, with all details of errors."""
    found: list[str] = []
    stub = scaler.keda.stub
    for call in (stub.GetMetricSpec, stub.IsActive):
        try:
            found.append(str(await call(reference(metadata), timeout=CALL_SECONDS)))
        except grpc.aio.AioRpcError as error:
            found.append(f"{error} {error.details()} {error.debug_error_string()} {error.trailing_metadata()}")
    try:
        found.append(str(await scaler.keda.value(metadata)))
    except grpc.aio.AioRpcError as error:
        found.append(f"{error} {error.details()}")
    return found


def reprs() -> list[str]:
    """Return reprs and attributes of all objects that may hold a secret, without the options that redis-py needs."""
    holders = [one for one in gc.get_objects() if isinstance(one, HOLDERS)]
    shown = []
    for one in holders:
        shown += [repr(one), str(one)]
        attributes = {name: value for name, value in getattr(one, "__dict__", {}).items() if name != "_options"}
        shown.append(repr(attributes))
    return shown


async def test_no_output_contains_a_secret(
    secured: Secured, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passwords from strings, URLs, files, folders, metadata and token providers are in no output of any failure."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("listeners.redis.dialer.entra_identity", LeakyProvider)
    monkeypatch.setattr("scaler.server.FILE_CHECK_SECONDS", 0.02)
    guarded = secured.server
    folder = create_files(tmp_path / "connections", guarded)
    named = connections(tmp_path, secured)
    tls = {"certificate_file": tmp_path / "tls" / "tls.crt", "key_file": tmp_path / "tls" / "tls.key"}
    async with running_scaler(
        credentials=grpc.ssl_channel_credentials(secured.authority.certificate),
        connection=f"{guarded.address},user=ann,password={SECRET}",
        connections=named,
        connections_dir=folder,
        scaler={"tls": tls, "bound_seconds": 0.5, "allowed_hosts": ["127.0.0.0/8", "*.example"]},
        triggers={"declared": {"type": "RedisListTrigger", "keys": "text", "connection": "string"}},
    ) as scaler:
        shown: list[str] = []
        names = [*named, *(file.name for file in folder.iterdir()), "unknown"]
        for where in (
            *({"connection": name} for name in names),
            {"connectionString": f"{guarded.address},password={SECRET}"},
            {"connectionStringFromEnv": f"redis://ann:{SECRET}@nowhere.example"},
            {"connectionString": f"elsewhere,password={SECRET}"},
            {"connectionString": f"nowhere.example,pasword={SECRET}"},
            {"connectionString": f"unix://ann:{SECRET}@/r.sock"},
            {"connection": f"{guarded.address},password={SECRET}"},
            {"pasword": SECRET},
        ):
            for keys in ("orders", "text"):
                shown += await replies(scaler, {"type": "redisListTrigger", "keys": keys, **where})
        (folder / "mounted").write_text(f"cache:port,password={SECRET}")
        (tmp_path / "password").write_bytes(b"\xff" + SECRET.encode())
        await eventually(lambda: "connections_dir.mounted:" in caplog.text and "not UTF-8 text" in caplog.text)
        for path in ("/metrics", "/api/v1/triggers", "/readyz"):
            shown.append((await scaler.get(path))[1])
        for tracked in scaler.server.evaluator.tracked():
            path = f"{tracked.owner.namespace}/{tracked.owner.name}/{tracked.scaled.metric_name}".lstrip("/")
            shown.append((await scaler.get(f"/api/v1/triggers/{path}"))[1])
        shown += reprs()
        assert len(shown) > 100
    shown.append(caplog.text)
    shown += [repr(vars(record)) for record in caplog.records]
    assert "no token from Entra ID" in "".join(shown)  # the provider was called
    assert [text for text in shown if SECRET in text or "PRIVATE KEY" in text] == []
