"""Named: moved out of another file; say what belongs here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from pydantic import SecretStr

from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string
from listeners.errors import ConfigurationError, ConnectionStringError, UnknownConnectionError, UnusableConnectionError

__all__ = ["DEFAULT_CONNECTION_STRING", "ConnectionReference", "Connections"]

DEFAULT_CONNECTION_STRING = "127.0.0.1:6379"


class ConnectionReference(Protocol):
    """What says which connection it wants: every trigger."""

    @property
    def connection(self) -> str | None: ...

    @property
    def connection_string(self) -> SecretStr | None: ...


@dataclass(frozen=True)
class Connections:
    """The connections that the settings define: one default, and any number with names (in lower case).

    A named one is a connection string, what was made of it, or the reason why it cannot be used.
    """

    default: SecretStr = field(default_factory=lambda: SecretStr(DEFAULT_CONNECTION_STRING))
    named: Mapping[str, SecretStr | ConnectionSpec | ConfigurationError] = field(default_factory=dict)

    def resolve(self, wanted: ConnectionReference) -> ConnectionSpec:
        """The Redis that a trigger reads: its own string, the connection it names, or the default.

        Raises UnknownConnectionError, UnusableConnectionError or ConnectionStringError.
        """
        if wanted.connection_string is not None:
            return parse_connection_string(wanted.connection_string.get_secret_value())
        if wanted.connection is None:
            return self._default
        found = self.named.get(wanted.connection.lower())
        if found is None:
            known = ", ".join(sorted(self.named)) or "none"
            raise UnknownConnectionError(
                "connection",
                wanted.connection,
                f"The settings define: {known}. Add it as TRIGGERFISH_CONNECTIONS__{wanted.connection.upper()}, "
                "in the settings file under connections, or as a file in connections_dir.",
            )
        if isinstance(found, ConfigurationError):
            raise UnusableConnectionError(found.field, found.value, found.fix)
        if isinstance(found, ConnectionSpec):
            return found
        try:
            return parse_connection_string(found.get_secret_value())
        except ConnectionStringError as error:
            raise ConnectionStringError(error.fix, field=f"connections.{wanted.connection.lower()}") from None

    @cached_property
    def _default(self) -> ConnectionSpec:
        return parse_connection_string(self.default.get_secret_value())
