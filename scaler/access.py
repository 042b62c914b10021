"""Which Redis a request may ask about."""

from dataclasses import dataclass, field

from listeners.connection import Connections, ConnectionSpec
from listeners.errors import ConfigurationError, ConnectionNotAllowedError
from listeners.settings import ConnectionSettings
from listeners.triggers import Trigger
from scaler.settings import Settings

__all__ = ["Access", "access_from"]


@dataclass(frozen=True)
class Access:
    """The scaler's own connections, and the namespaces that each is limited to."""

    connections: Connections
    namespaces: dict[str, frozenset[str]] = field(default_factory=dict)

    def resolve(self, trigger: Trigger, namespace: str | None) -> ConnectionSpec:
        """The Redis that a namespace's trigger reads; None: the operator's own, without limits.

        Raises ConnectionNotAllowedError, UnknownConnectionError, or ConnectionStringError.
        """
        spec = self.connections.resolve(trigger)
        allowed = self.namespaces.get((trigger.connection or "").lower(), frozenset())
        if allowed and namespace is not None and namespace not in allowed:
            raise ConnectionNotAllowedError(
                "connection",
                trigger.connection,
                f"Namespace {namespace!r} may not use it. Add it to the connection's `namespaces` in the settings.",
            )
        return spec


def access_from(settings: Settings) -> Access:
    """The access that the settings define.

    Raises ConfigurationError if a connection is limited to namespaces while nothing vouches for the namespace that a
    request claims.
    """
    limited = {name: connection for name, connection in settings.connections.items() if connection.namespaces}
    if limited and not settings.scaler.trust_network:
        raise ConfigurationError(
            "connections",
            min(limited),
            "It is limited to namespaces, but anyone who reaches the gRPC port can claim one. Let a NetworkPolicy "
            "admit only KEDA and set scaler.trust_network: true, or remove `namespaces`.",
        )
    return Access(settings.redis_connections(), {name.lower(): _namespaces(limited[name]) for name in limited})


def _namespaces(connection: ConnectionSettings) -> frozenset[str]:
    return frozenset(connection.namespaces)
