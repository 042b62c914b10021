"""What can be set for a named connection, and the checks that it can be used."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from listeners.connections.credentials import read_password
from listeners.connections.named import DEFAULT_CONNECTION_STRING, Connections
from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string
from listeners.connections.tls import tls_context
from listeners.errors import ConfigurationError, ConnectionStringError
from listeners.runtime.extras import require_extra
from listeners.runtime.files import file_stamp, read_file

__all__ = ["ConnectionSettings", "connections_from", "spec_or_error"]


class ConnectionSettings(BaseModel):
    """One named connection."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    connection_string: SecretStr = Field(description="host:port,option=value or a redis:// URL")
    password_file: Path | None = Field(default=None, description="a file with the password, such as a mounted Secret")
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

    def spec(self, field: str) -> ConnectionSpec:
        """Return where and how to connect. Checks the files. Raises ConfigurationError that names what is wrong."""
        try:
            spec = parse_connection_string(self.connection_string.get_secret_value())
        except ConnectionStringError as error:
            raise ConnectionStringError(error.fix, field=field) from None
        names = ("password_file", "ca_file", "certificate_file", "key_file")
        files = {name: file for name in names if (file := getattr(self, name)) is not None}
        self._check_together(spec, field)
        paths: dict[str, Any] = {name: str(file) for name, file in files.items()}
        stamps = tuple((str(file), file_stamp(file)) for file in files.values())
        spec = replace(spec, **paths, entra=self.entra, files=stamps)
        _check_files(spec, field)
        return spec

    def _check_together(self, spec: ConnectionSpec, field: str) -> None:
        """Raise ConfigurationError if options contradict each other."""
        if self.entra:
            require_extra("entraid", f"{field}.entra", True)
        passwords = (spec.password is not None, self.password_file is not None, self.entra)
        if sum(passwords) > 1:
            raise ConfigurationError(
                field, None, "It has more than one of a password in its string, password_file and entra. Keep one."
            )
        if (self.certificate_file is None) != (self.key_file is None):
            raise ConfigurationError(field, None, "certificate_file and key_file go together. Give both or neither.")
        if not spec.tls and (self.entra or self.ca_file is not None or self.certificate_file is not None):
            raise ConfigurationError(
                field, None, "ca_file, certificate_file and entra need TLS. Use ssl=True or rediss://."
            )


def connections_from(
    default: SecretStr | None,
    named: Mapping[str, ConnectionSettings],
    mounted: Mapping[str, ConnectionSettings | ConfigurationError] | None = None,
) -> Connections:
    """Return the connections that the settings define. Names ignore case, as environment variables do.

    A connection in the settings takes precedence over a mounted one of the same name. Raises ConfigurationError that
    names a connection in the settings and what is wrong with it. The error of a mounted one is raised when it is used.
    """
    specs: dict[str, SecretStr | ConnectionSpec | ConfigurationError] = {
        name: spec_or_error(connection, f"connections_dir.{name}") for name, connection in (mounted or {}).items()
    }
    specs |= {name.lower(): connection.spec(f"connections.{name}") for name, connection in named.items()}
    return Connections(default or SecretStr(DEFAULT_CONNECTION_STRING), specs)


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
