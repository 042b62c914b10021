"""What can be set for a connection, and the checks that it can be used."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from listeners.connections.credentials import read_password
from listeners.connections.named import Connection, Connections
from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string, parse_host
from listeners.connections.tls import tls_context
from listeners.errors import ConfigurationError, ConnectionStringError
from listeners.runtime.extras import require_extra
from listeners.runtime.files import file_stamp, read_file

__all__ = ["ConnectionSettings", "connections_from", "spec_or_error"]


class ConnectionSettings(BaseModel):
    """The default connection or a named one."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    connection_string: SecretStr = Field(description="host:port,option=value or a redis:// URL")
    password: SecretStr | None = Field(default=None, description="the password, if it is not in connection_string")
    password_file: Path | None = Field(default=None, description="a file with the password, such as a mounted Secret")
    server_name: str | None = Field(
        default=None,
        description="the name that the server's certificate must have, if it differs from the host",
    )
    ca_file: Path | None = Field(
        default=None, description="CA certificates in PEM that verify the server, instead of the system's"
    )
    certificate_file: Path | None = Field(
        default=None, description="a client certificate in PEM, for a server that requires one"
    )
    key_file: Path | None = Field(default=None, description="the client certificate's private key, not encrypted")
    entra: bool = Field(default=False, description="use Microsoft Entra ID tokens instead of a password")
    namespaces: list[str] = Field(
        default=[], description="Kubernetes namespaces whose ScaledObjects may use it; empty allows all"
    )
    key_prefixes: list[Annotated[str, Field(min_length=1)]] = Field(
        default=[], description="allowed prefixes of the keys and channels of ScaledObjects; empty allows all"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        """Accept a plain connection string, which sets no other option."""
        return {"connection_string": value} if isinstance(value, str) else value

    def check_string(self, field: str) -> ConnectionSpec:
        """Return what the string alone describes. Raises ConnectionStringError."""
        try:
            return parse_connection_string(self.connection_string.get_secret_value())
        except ConnectionStringError as error:
            raise ConnectionStringError(error.fix, field=field) from None

    def spec(self, field: str) -> ConnectionSpec:
        """Return where and how to connect. Checks the files. Raises ConfigurationError that names what is wrong."""
        spec = self.check_string(field)
        names = ("password_file", "ca_file", "certificate_file", "key_file")
        files = {name: file for name in names if (file := getattr(self, name)) is not None}
        self._check_together(spec, field)
        if self.password is not None:
            spec = replace(spec, password=self.password)
        if self.server_name is not None:
            spec = replace(spec, server_name=_checked_name(self.server_name, f"{field}.server_name"))
        written: dict[str, Any] = {name: str(file) for name, file in files.items()}
        # An app may change the working directory before a file is read again.
        paths: dict[str, Any] = {name: str(file.absolute()) for name, file in files.items()}
        stamps = tuple((path, file_stamp(Path(path))) for path in paths.values())
        _check_files(replace(spec, **written), field)
        return replace(spec, **paths, entra=self.entra, files=stamps)

    def _check_together(self, spec: ConnectionSpec, field: str) -> None:
        """Raise ConfigurationError if options contradict each other."""
        if self.entra:
            require_extra("entraid", f"{field}.entra", True)
        if self.password is not None and not self.password.get_secret_value():
            raise ConfigurationError(f"{field}.password", None, "It is empty. Give the password, or drop it.")
        passwords = (spec.password is not None, self.password is not None, self.password_file is not None, self.entra)
        if sum(passwords) > 1:
            fix = "It has more than one of a password in its string, password, password_file and entra. Keep one."
            raise ConfigurationError(field, None, fix)
        if self.server_name is not None and spec.server_name is not None:
            raise ConfigurationError(field, None, "It has both server_name and sslHost in its string. Keep one.")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ConfigurationError(field, None, "certificate_file and key_file go together. Give both or neither.")
        needing_tls = (self.ca_file, self.certificate_file, self.server_name)
        if not spec.tls and (self.entra or any(value is not None for value in needing_tls)):
            fix = "ca_file, certificate_file, server_name and entra need TLS. Use ssl=True or rediss://."
            raise ConfigurationError(field, None, fix)


def _checked_name(name: str, field: str) -> str:
    try:
        return parse_host(name)
    except ConnectionStringError:
        raise ConfigurationError(field, name, "It is not a host name. Give a name in the certificate.") from None


def connections_from(
    default: ConnectionSettings | None,
    named: Mapping[str, ConnectionSettings],
    mounted: Mapping[str, ConnectionSettings | ConfigurationError] | None = None,
) -> Connections:
    """Return the connections that the settings define. Names ignore case, as environment variables do.

    Without a default one it is the Redis on this machine. A connection in the settings takes precedence over a mounted
    one of the same name. Raises ConfigurationError that names a connection in the settings and what is wrong with it.
    The error of a mounted one is raised when it is used.
    """
    specs: dict[str, Connection] = {
        name: spec_or_error(connection, f"connections_dir.{name}") for name, connection in (mounted or {}).items()
    }
    specs |= {name.lower(): connection.spec(f"connections.{name}") for name, connection in named.items()}
    return Connections(default.spec("connection") if default is not None else ConnectionSpec(), specs)


def spec_or_error(
    connection: ConnectionSettings | ConfigurationError, field: str
) -> ConnectionSpec | ConfigurationError:
    """Return the spec of a mounted connection, or why it is unusable. Never raises, whatever its file contains: one
    file must not make the others unusable.
    """
    if isinstance(connection, ConfigurationError):
        return connection
    try:
        return connection.spec(field)
    except ConfigurationError as error:
        return error
    except Exception as error:  # noqa: BLE001
        return ConfigurationError(field, None, f"It cannot be used ({type(error).__name__}). Check its options.")


def _check_files(spec: ConnectionSpec, field: str) -> None:
    """Check the files now, rather than when the first connection fails."""
    if spec.password_file is not None:
        read_password(Path(spec.password_file), f"{field}.password_file")
    for name in ("ca_file", "certificate_file", "key_file"):
        if (file := getattr(spec, name)) is not None:
            read_file(Path(file), f"{field}.{name}")
    if spec.ca_file is None and spec.certificate_file is None:
        return
    try:
        tls_context(spec)
    except OSError:
        raise ConfigurationError(
            field,
            None,
            "Its ca_file holds no certificates in PEM, or its certificate_file holds no certificate in PEM that "
            "belongs to the unencrypted key in key_file.",
        ) from None
