"""Which Redis a request may ask about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from listeners.connections.allowed_hosts import host_matches
from listeners.connections.named import Connections
from listeners.connections.settings import ConnectionSettings
from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string
from listeners.errors import ConfigurationError, ConnectionNotAllowedError
from listeners.functions.triggers import PubSubTrigger, Trigger
from scaler.settings import ScalerSettings

__all__ = ["Access", "ConnectionLimits", "check_namespaces_are_trusted", "limits_of"]


@dataclass(frozen=True)
class ConnectionLimits:
    """Who may use a connection; what is empty limits nothing."""

    namespaces: frozenset[str] = frozenset()
    key_prefixes: tuple[str, ...] = ()


@dataclass
class Access:
    """The scaler's own connections, and what each is limited to; both are replaced when files change."""

    connections: Connections
    limits: Mapping[str, ConnectionLimits] = field(default_factory=dict)
    #: Hosts that a request's own connection string may lead to (see listeners.hosts).
    allowed_hosts: tuple[str, ...] = ()

    def resolve(self, trigger: Trigger, namespace: str | None) -> ConnectionSpec:
        """The Redis that a namespace's trigger reads; None: the operator's own, without limits.

        Raises ConnectionNotAllowedError, UnknownConnectionError, UnusableConnectionError or ConnectionStringError.
        """
        if namespace is not None and trigger.connection is not None:
            limits = self.limits.get(trigger.connection.lower(), ConnectionLimits())
            _check_namespace(trigger.connection, limits, namespace)
            _check_keys(trigger, limits)
        if namespace is not None and trigger.connection_string is not None:
            return self._of_a_request(trigger.connection_string)
        return self.connections.resolve(trigger)

    def _of_a_request(self, connection_string: SecretStr) -> ConnectionSpec:
        """What a request's own string names, if all of it is allowed; whatever it leads to has to be allowed too."""
        if self.allowed_hosts:
            spec = parse_connection_string(connection_string.get_secret_value())
            hosts = [endpoint.host for endpoint in spec.endpoints]
            if spec.unix_path is None and all(host_matches(host, self.allowed_hosts) for host in hosts):
                return replace(spec, allowed_hosts=self.allowed_hosts)
        raise ConnectionNotAllowedError(
            "connectionString",
            None,
            "ScaledObjects may not name this Redis by a string. Define the connection in the scaler's settings, and "
            "name it with `connection`; or have its host added to scaler.allowed_hosts.",
        )


def _check_namespace(connection: str, limits: ConnectionLimits, namespace: str) -> None:
    if limits.namespaces and namespace not in limits.namespaces:
        raise ConnectionNotAllowedError(
            "connection",
            connection,
            f"Namespace {namespace!r} may not use it. Add it to the connection's `namespaces` in the settings.",
        )


def _check_keys(trigger: Trigger, limits: ConnectionLimits) -> None:
    if isinstance(trigger, PubSubTrigger):
        field, names = "channel", {trigger.channel: _beginning(trigger)}
    else:
        field, names = "keys", {key: key for key in trigger.keys}
    for name, beginning in names.items():
        if limits.key_prefixes and not beginning.startswith(limits.key_prefixes):
            raise ConnectionNotAllowedError(
                field,
                name,
                f"Connection {trigger.connection!r} does not reach so far. Add what it begins with to the connection's "
                "`key_prefixes` in the settings.",
            )


def _beginning(trigger: PubSubTrigger) -> str:
    """What every channel that it reads begins with: all of a name; of a pattern, what stands before its glob."""
    if not trigger.is_pattern:
        return trigger.channel
    literal = re.match(r"(?s)(?:\\.|[^\\*?\[])*", trigger.channel)
    return re.sub(r"(?s)\\(.)", r"\1", literal[0]) if literal is not None else ""


def limits_of(connection: ConnectionSettings) -> ConnectionLimits | None:
    """What a connection is limited to, if it is."""
    limits = ConnectionLimits(frozenset(connection.namespaces), tuple(connection.key_prefixes))
    return limits if limits != ConnectionLimits() else None


def check_namespaces_are_trusted(connection: str, scaler: ScalerSettings) -> None:
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
