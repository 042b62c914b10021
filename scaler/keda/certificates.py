"""TLS for KEDA's calls: a certificate that is reloaded when its files change."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import grpc

from listeners.errors import ConfigurationError
from listeners.runtime.files import FileWatch, file_stamp, read_file
from listeners.runtime.logs import steady_logger
from scaler.settings import TlsSettings

__all__ = ["Certificates"]

log = steady_logger("triggerfish.scaler")


@dataclass(frozen=True, repr=False)
class _Loaded:
    """The contents of the files when they were last loaded."""

    certificate: bytes
    key: bytes
    client_ca: bytes | None

    def for_grpc(self) -> grpc.ServerCertificateConfiguration:
        """Return a new configuration for each use, since gRPC takes ownership of it."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.client_ca)


class Certificates:
    """The certificate for new connections, and the CA that must have issued the clients' certificates.

    Raises ConfigurationError if the files are unusable. check() reloads files that have changed. If the new files are
    unusable, the current certificate stays in use, a warning is logged once, and `on_broken` is called.
    """

    def __init__(self, settings: TlsSettings, on_broken: Callable[[], object]) -> None:
        self._settings = settings
        self._on_broken = on_broken
        files = (settings.certificate_file, settings.key_file, settings.client_ca_file)
        self._files = FileWatch(lambda: tuple(file_stamp(file) for file in files if file is not None))
        with self._files.reading():
            self._loaded = self._load()
        self._in_use = self._loaded

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials for a gRPC server. With a client CA, a client without a certificate from it is refused."""
        return grpc.dynamic_ssl_server_credentials(
            self._loaded.for_grpc(),
            # None means no change, which the published types leave out.
            cast("Callable[[], grpc.ServerCertificateConfiguration]", self._newer_configuration),
            require_client_authentication=self._settings.client_ca_file is not None,
        )

    def check(self) -> None:
        """Reload the files if they have changed. Blocks while reading them."""
        if not self._files.changed():
            return
        try:
            with self._files.reading():
                loaded = self._load()
        except ConfigurationError as error:
            self._files.skip()
            log.warning("the new certificate is unusable, still serving the current one: %s", error)
            self._on_broken()
            return
        if self._files.changed():
            return  # replaced while being read, perhaps only in part: the next check reads all files
        self._loaded = loaded
        log.info("now serving the new certificate in %s", self._settings.certificate_file)

    def _newer_configuration(self) -> grpc.ServerCertificateConfiguration | None:
        """Return a changed configuration, or None. gRPC calls this before each handshake, on its own thread."""
        loaded = self._loaded
        if loaded is self._in_use:
            return None
        self._in_use = loaded
        return loaded.for_grpc()

    def _load(self) -> _Loaded:
        settings = self._settings
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate = read_file(settings.certificate_file, "scaler.tls.certificate_file")
        key = read_file(settings.key_file, "scaler.tls.key_file")
        try:
            # With a password, even a wrong one, an encrypted key is an error instead of a prompt.
            context.load_cert_chain(settings.certificate_file, settings.key_file, password="")
        except (ssl.SSLError, OSError):
            raise ConfigurationError(
                "scaler.tls.certificate_file",
                str(settings.certificate_file),
                "It is not a PEM certificate that matches the key in scaler.tls.key_file (PEM, not encrypted).",
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
            "scaler.tls.client_ca_file", str(file), "It contains no PEM certificates. Give those of the clients' CA."
        ) from None
