"""Which Redis a request may ask about."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from listeners.connection import Connections, ConnectionSpec
from listeners.errors import ConfigurationError, ConnectionNotAllowedError
from listeners.settings import ConnectionSettings
from listeners.triggers import Trigger
from scaler.settings import ScalerSettings

__all__ = ["Access", "Limits", "check_vouched", "limits_of"]


@dataclass(frozen=True)
class Limits:
    """Who may use a connection; what is empty limits nothing."""

    namespaces: frozenset[str] = frozenset()


@dataclass
class Access:
    """The scaler's own connections, and what each is limited to; both are replaced when files change."""

    connections: Connections
    limits: Mapping[str, Limits] = field(default_factory=dict)

    def resolve(self, trigger: Trigger, namespace: str | None) -> ConnectionSpec:
        """The Redis that a namespace's trigger reads; None: the operator's own, without limits.

        Raises ConnectionNotAllowedError, UnknownConnectionError, UnusableConnectionError or ConnectionStringError.
        """
        if namespace is not None and trigger.connection is not None:
            limits = self.limits.get(trigger.connection.lower(), Limits())
            self._check_namespace(trigger.connection, limits, namespace)
        return self.connections.resolve(trigger)

    def _check_namespace(self, connection: str, limits: Limits, namespace: str) -> None:
        if limits.namespaces and namespace not in limits.namespaces:
            raise ConnectionNotAllowedError(
                "connection",
                connection,
                f"Namespace {namespace!r} may not use it. Add it to the connection's `namespaces` in the settings.",
            )


def limits_of(connection: ConnectionSettings) -> Limits | None:
    """What a connection is limited to, if it is."""
    limits = Limits(frozenset(connection.namespaces))
    return limits if limits != Limits() else None


def check_vouched(connection: str, scaler: ScalerSettings) -> None:
    """Raises ConfigurationError unless something vouches for the namespaces that requests claim, so that the limits of
    this connection mean something.
    """
    mutual_tls = scaler.tls is not None and scaler.tls.client_ca_file is not None
    if not mutual_tls and not scaler.trust_network:
        raise ConfigurationError(
            "connections",
            connection,
            "It is limited, but anyone who reaches the gRPC port can claim any namespace. Set scaler.tls with "
            "client_ca_file, so that only KEDA's certificate is accepted; or let a NetworkPolicy admit only KEDA and "
            "set scaler.trust_network: true; or remove its limits.",
        )
