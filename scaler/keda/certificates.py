"""TLS for KEDA's calls: the certificate, read again when its files change."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from listeners.errors import ConfigurationError
from listeners.runtime.files import FileWatch, file_stamp, read_file
from scaler.settings import TlsSettings

__all__ = ["Certificates"]

log = logging.getLogger("triggerfish.scaler")


@dataclass(frozen=True, repr=False)
class _Loaded:
    """What the files held at one time."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None

    def for_grpc(self) -> grpc.ServerCertificateConfiguration:
        """A configuration of its own for each use: gRPC takes it over."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.client_ca)


class Certificates:
    """The certificate that new connections are served with, and the CA that clients' certificates must come from.

    Raises ConfigurationError if the files cannot be used. Files that change are read at the next check(); if what they
    hold then is unusable, the certificate that is served stays, the log says so once, and `on_broken` is called.
    """

    def __init__(self, settings: TlsSettings, on_broken: Callable[[], object]) -> None:
        self._settings = settings
        self._on_broken = on_broken
        files = (settings.certificate_file, settings.key_file, settings.client_ca_file)
        self._files = FileWatch(lambda: tuple(file_stamp(file) for file in files if file is not None))
        with self._files.reading():
            self._loaded = self._load()
        self._handed_out = self._loaded

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials for a gRPC server; with a CA for clients, one without its certificate is refused."""
        return grpc.dynamic_ssl_server_credentials(
            self._loaded.for_grpc(),
            # None means no change, which the published types do not know.
            cast("Callable[[], grpc.ServerCertificateConfiguration]", self._newer),
            require_client_authentication=self._settings.client_ca_file is not None,
        )

    def check(self) -> None:
        """Read the files again if they changed. Blocks for as long as reading takes."""
        if not self._files.changed():
            return
        try:
            with self._files.reading():
                loaded = self._load()
        except ConfigurationError as error:
            self._files.skip()
            log.warning("the new certificate is not served, the one before is: %s", error)
            self._on_broken()
            return
        if self._files.changed():
            return  # replaced while it was read, perhaps a part of it: the next check sees the whole
        self._loaded = loaded
        log.info("the new certificate in %s is served from now on", self._settings.certificate_file)

    def _newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks before each handshake, on a thread of its own; None: no change."""
        loaded = self._loaded
        if loaded is self._handed_out:
            return None
        self._handed_out = loaded
        return loaded.for_grpc()

    def _load(self) -> _Loaded:
        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = read_file(settings.certificate_file, "scaler.tls.certificate_file")
        key = read_file(settings.key_file, "scaler.tls.key_file")
        try:
            # With a password, even a wrong one, a key that is encrypted is an error instead of a question.
            context.load_cert_chain(settings.certificate_file, settings.key_file, password="")
        except (ssl.SSLError, OSError):
            raise ConfigurationError(
                "scaler.tls.certificate_file",
                str(settings.certificate_file),
                "It is no certificate in PEM that belongs to the key in scaler.tls.key_file (PEM, not encrypted).",
            ) from None
        client_ca = None
        if settings.client_ca_file is not None:
            client_ca = read_file(settings.client_ca_file, "scaler.tls.client_ca_file")
            _check_ca(client_ca, settings.client_ca_file)
        return _Loaded(certificate, key, client_ca)


def _check_ca(client_ca: bytes, file: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=client_ca.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise ConfigurationError(
            "scaler.tls.client_ca_file", str(file), "It holds no certificates in PEM: give those of the clients' CA."
        ) from None
