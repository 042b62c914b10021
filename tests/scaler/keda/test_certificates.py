"""TLS and mutual TLS for KEDA's calls, and certificates that are replaced while the scaler runs."""

import logging
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from listeners.errors import ConfigurationError
from scaler.keda.certificates import Certificates
from scaler.settings import TlsSettings
from tests.support.network.certificates import Authority, Signed
from tests.support.running_scaler import Keda, RunningScaler, channel_to, running_scaler
from tests.support.waiting import eventually
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}
CALL_SECONDS = 5.0


@pytest.fixture(autouse=True)
def _quick_file_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaler.server.FILE_CHECK_SECONDS", 0.02)


def settings(folder: Path, *, mutual: bool = False) -> dict[str, object]:
    """Return the `scaler` section of the settings for the certificate in a folder."""
    files = {"certificate_file": str(folder / "tls.crt"), "key_file": str(folder / "tls.key")}
    return {"tls": {**files, **({"client_ca_file": str(folder / "ca.crt")} if mutual else {})}}


def trusting(authority: Authority, client: Signed | None = None) -> grpc.ChannelCredentials:
    """Return credentials for a client that trusts an authority, and has a certificate if `client` is given."""
    if client is None:
        return grpc.ssl_channel_credentials(authority.certificate)
    return grpc.ssl_channel_credentials(authority.certificate, client.key, client.certificate)


async def served(scaler: RunningScaler, credentials: grpc.ChannelCredentials | None) -> bool:
    """Return whether a new connection with these credentials is served. If not, it must fail with UNAVAILABLE."""
    async with channel_to(scaler.server, credentials) as channel:
        try:
            return await Keda(channel).active(PUBSUB)
        except grpc.aio.AioRpcError as error:
            assert error.code() == StatusCode.UNAVAILABLE
            return False


async def test_tls(tmp_path: Path) -> None:
    """With TLS, clients that trust the certificate's authority are served; others, and plain text, are not."""
    authority = Authority().write(tmp_path)
    async with running_scaler(credentials=trusting(authority), scaler=settings(tmp_path)) as scaler:
        assert (await scaler.keda.poll(PUBSUB)).active
        assert not await served(scaler, trusting(Authority()))
        assert not await served(scaler, None)


async def test_mutual_tls(tmp_path: Path) -> None:
    """With mutual TLS, a client with a certificate from the CA is served; one without, or from another CA, is not."""
    authority = Authority().write(tmp_path)
    client = authority.sign("keda-operator")
    async with running_scaler(
        credentials=trusting(authority, client), scaler=settings(tmp_path, mutual=True)
    ) as scaler:
        assert (await scaler.keda.poll(PUBSUB)).active
        assert not await served(scaler, trusting(authority))
        assert not await served(scaler, trusting(authority, Authority().sign("keda-operator")))
        assert not await served(scaler, None)


async def test_a_certificate_is_replaced(tmp_path: Path) -> None:
    """New connections get the new certificate without a restart, and open connections continue."""
    old, new = Authority().write(tmp_path), Authority()
    async with running_scaler(credentials=trusting(old), scaler=settings(tmp_path)) as scaler:
        assert await served(scaler, trusting(old))
        assert (await scaler.keda.poll(PUBSUB)).active
        new.write(tmp_path)
        await eventually(lambda: served(scaler, trusting(new)))
        assert not await served(scaler, trusting(old))
        assert (await scaler.keda.poll(PUBSUB)).active


async def test_a_certificate_is_replaced_before_any_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Even the first connection gets the certificate that is in the files by then."""
    caplog.set_level(logging.INFO)
    Authority().write(tmp_path)
    new = Authority()
    async with running_scaler(scaler=settings(tmp_path)) as scaler:
        new.write(tmp_path)
        await eventually(lambda: "now serving the new certificate" in caplog.text)
        assert await served(scaler, trusting(new))


async def test_a_secret_mount_is_replaced(tmp_path: Path) -> None:
    """When the `..data` link of a mounted Kubernetes Secret is swapped, certificate, key and CA are replaced."""
    old, new = Authority(), Authority()
    mount(tmp_path, "..1", old)
    async with running_scaler(
        credentials=trusting(old, old.sign("keda")), scaler=settings(tmp_path, mutual=True)
    ) as scaler:
        assert (await scaler.keda.poll(PUBSUB)).active
        mount(tmp_path, "..2", new)
        await eventually(lambda: served(scaler, trusting(new, new.sign("keda"))))
        assert not await served(scaler, trusting(new, old.sign("keda")))


def mount(folder: Path, version: str, authority: Authority) -> None:
    """Do as the kubelet does: make a new folder, then point the link `..data` to it. The names link into `..data`."""
    authority.write(folder / version)
    swapped = folder / "..data_tmp"
    swapped.symlink_to(version)
    swapped.rename(folder / "..data")
    for name in ("tls.crt", "tls.key", "ca.crt"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")


@pytest.mark.parametrize("broken", ["no certificate", "another's key", "gone"])
async def test_a_new_certificate_is_broken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, server: Server, broken: str
) -> None:
    """Unusable files leave the old certificate in use, and are logged once and counted."""
    authority = Authority().write(tmp_path)
    async with running_scaler(server, credentials=trusting(authority), scaler=settings(tmp_path)) as scaler:
        match broken:
            case "no certificate":
                (tmp_path / "tls.crt").write_text("hunter2")
            case "another's key":
                (tmp_path / "tls.key").write_bytes(authority.sign().key)
            case "gone":
                (tmp_path / "tls.crt").unlink()
        await eventually(lambda: reload_errors(scaler))
        assert await served(scaler, trusting(authority))
        assert await reload_errors(scaler) == 1
        assert caplog.text.count("the new certificate is unusable") == 1
        assert "hunter2" not in caplog.text
        authority.write(tmp_path)
        new = authority.sign()
        new.write(tmp_path)
        await eventually(lambda: served(scaler, trusting(authority)))


async def reload_errors(scaler: RunningScaler) -> float:
    """Return how many new certificates were unusable."""
    return (await scaler.samples())["triggerfish_reload_errors_total"][("what", "certificate"),]


@pytest.mark.parametrize("broken", ["certificate_file", "key_file", "client_ca_file"])
@pytest.mark.parametrize("content", [None, b"hunter2", b""], ids=["missing", "not PEM", "empty"])
def test_unusable_files(tmp_path: Path, broken: str, content: bytes | None) -> None:
    """A missing file, or one that is not PEM, prevents a start. The error names the file without its content."""
    Authority().write(tmp_path)
    files = TlsSettings(
        certificate_file=tmp_path / "tls.crt", key_file=tmp_path / "tls.key", client_ca_file=tmp_path / "ca.crt"
    )
    file: Path = getattr(files, broken)
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        Certificates(files, lambda: None)
    assert caught.value.field.startswith("scaler.tls.")
    assert broken in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_an_encrypted_key(tmp_path: Path) -> None:
    """An encrypted key is an error, not a prompt on the terminal."""
    Authority().sign(password=b"hunter2").write(tmp_path)
    files = TlsSettings(certificate_file=tmp_path / "tls.crt", key_file=tmp_path / "tls.key")
    with pytest.raises(ConfigurationError, match="not encrypted"):
        Certificates(files, lambda: None)


def test_keys_are_not_shown(tmp_path: Path) -> None:
    """No repr shows a key."""
    Authority().write(tmp_path)
    certificates = Certificates(TlsSettings.model_validate(settings(tmp_path)["tls"]), lambda: None)
    shown = repr(certificates) + repr(vars(certificates))
    assert "PRIVATE KEY" not in shown
