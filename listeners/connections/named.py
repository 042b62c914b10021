"""The default connection and the named ones, and which of them a trigger uses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from pydantic import SecretStr

from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string
from listeners.errors import ConfigurationError, ConnectionStringError, UnknownConnectionError, UnusableConnectionError
from listeners.text import did_you_mean

__all__ = ["Connection", "ConnectionReference", "Connections"]

#: A connection string, the spec made from it, or the error that makes it unusable.
Connection = SecretStr | ConnectionSpec | ConfigurationError


class ConnectionReference(Protocol):
    """Refers to a connection by name or by string, as every trigger does."""

    @property
    def connection(self) -> str | None: ...

    @property
    def connection_string(self) -> SecretStr | None: ...


@dataclass(frozen=True)
class Connections:
    """The connections that the settings define: one default, and any number of named ones (names in lower case)."""

    default: Connection = field(default_factory=ConnectionSpec)
    named: Mapping[str, Connection] = field(default_factory=dict)

    def resolve(self, reference: ConnectionReference) -> ConnectionSpec:
        """Return the Redis that a trigger reads: from its own string, the connection it names, or the default.

        Raises UnknownConnectionError, UnusableConnectionError or ConnectionStringError.
        """
        if reference.connection_string is not None:
            return parse_connection_string(reference.connection_string.get_secret_value())
        if reference.connection is None:
            return self._default
        found = self.named.get(reference.connection.lower())
        if found is None:
            name, known = reference.connection, ", ".join(sorted(self.named)) or "none"
            raise UnknownConnectionError(
                "connection",
                name,
                f"{did_you_mean(name, self.named)}The settings define: {known}. Add it as "
                f"TRIGGERFISH_CONNECTIONS__{name.upper()}, in the settings file under connections, or as a file in "
                "connections_dir.",
            )
        return _usable(found, f"connections.{reference.connection.lower()}")

    def resolve_for(self, function: str, trigger: ConnectionReference) -> ConnectionSpec:
        """Return the Redis that a function's trigger reads; see resolve(). The error names the function."""
        try:
            return self.resolve(trigger)
        except ConfigurationError as error:
            error.add_hint(f"It is the connection of `{function}`.")
            raise

    @cached_property
    def _default(self) -> ConnectionSpec:
        return _usable(self.default, "connection")


def _usable(connection: Connection, field: str) -> ConnectionSpec:
    if isinstance(connection, ConfigurationError):
        raise UnusableConnectionError(connection.field, connection.value, connection.fix)
    if isinstance(connection, ConnectionSpec):
        return connection
    try:
        return parse_connection_string(connection.get_secret_value())
    except ConnectionStringError as error:
        raise ConnectionStringError(error.fix, field=field) from None
