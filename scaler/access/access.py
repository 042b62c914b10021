"""Decides which Redis a request may use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from listeners.connections.allowed_hosts import host_matches
from listeners.connections.named import Connections
from listeners.connections.settings import ConnectionSettings
from listeners.connections.spec import ConnectionSpec
from listeners.connections.strings import parse_connection_string
from listeners.errors import ConfigurationError, ConnectionNotAllowedError, UnknownConnectionError
from listeners.functions.triggers import PubSubTrigger, Trigger
from scaler.queues.celery import CeleryQueue
from scaler.queues.trigger import QueueTrigger
from scaler.settings import ScalerSettings

__all__ = ["Access", "ConnectionLimits", "check_namespaces_are_trusted", "limits_of"]


@dataclass(frozen=True)
class ConnectionLimits:
    """The namespaces and keys for which a connection may be used. An empty collection is no limit."""

    namespaces: frozenset[str] = frozenset()
    key_prefixes: tuple[str, ...] = ()


@dataclass
class Access:
    """The scaler's own connections and their limits. Both are replaced when files change."""

    connections: Connections
    limits: Mapping[str, ConnectionLimits] = field(default_factory=dict)
    #: Hosts that the connection string of a request may lead to (see listeners.connections.allowed_hosts).
    allowed_hosts: tuple[str, ...] = ()

    def resolve(self, trigger: Trigger | QueueTrigger, namespace: str | None) -> ConnectionSpec:
        """Return the Redis that a trigger of this namespace reads. None stands for the operator, who has no limits.

        Raises ConnectionNotAllowedError, UnknownConnectionError, UnusableConnectionError or ConnectionStringError. An
        error for a namespace does not name other connections than its own.
        """
        if namespace is not None and trigger.connection is not None:
            limits = self.limits.get(trigger.connection.lower(), ConnectionLimits())
            _check_namespace(trigger.connection, limits, namespace)
            _check_keys(trigger, limits)
        if namespace is not None and trigger.connection_string is not None:
            _check_listens_to_nobody(trigger)
            return self._resolve_string(trigger.connection_string, namespace)
        try:
            return self.connections.resolve(trigger)
        except UnknownConnectionError as error:
            if namespace is None:
                raise
            # Without the other names: the author of a ScaledObject may not see the operator's settings.
            raise UnknownConnectionError(
                error.field,
                error.value,
                "The scaler's settings define no such connection. Correct the name, or have it added as "
                f"TRIGGERFISH_CONNECTIONS__{str(error.value).upper()}, under `connections`, or as a file in "
                "connections_dir.",
            ) from None

    def limits_keys(self, trigger: Trigger | QueueTrigger, namespace: str | None) -> bool:
        """Return whether a namespace may not read all keys of a trigger's Redis, or is not known there."""
        if namespace is None:
            return False
        limits = self.limits.get((trigger.connection or "").lower(), ConnectionLimits())
        return bool(limits.key_prefixes) or trigger.connection_string is not None

    def _resolve_string(self, connection_string: SecretStr, namespace: str) -> ConnectionSpec:
        """Return the Redis of a request's connection string. All its hosts, and all they lead to, must be allowed."""
        if self.allowed_hosts:
            spec = parse_connection_string(connection_string.get_secret_value())
            hosts = [endpoint.host for endpoint in spec.endpoints]
            if spec.server_name is not None:  # a proxy may forward by the name in the handshake
                hosts.append(spec.server_name)
            if spec.unix_path is None and all(host_matches(host, self.allowed_hosts) for host in hosts):
                return replace(spec, allowed_hosts=self.allowed_hosts, namespace=namespace)
        raise ConnectionNotAllowedError(
            "connectionString",
            None,
            "ScaledObjects may not use this Redis by connection string. Define a connection in the scaler's settings "
            "and name it with `connection`, or have the host added to scaler.allowed_hosts.",
        )


def _check_namespace(connection: str, limits: ConnectionLimits, namespace: str) -> None:
    if limits.namespaces and namespace not in limits.namespaces:
        raise ConnectionNotAllowedError(
            "connection",
            connection,
            f"Namespace {namespace!r} may not use it. Add the namespace to its `namespaces` in the settings.",
        )


def _check_keys(trigger: Trigger | QueueTrigger, limits: ConnectionLimits) -> None:
    if isinstance(trigger, PubSubTrigger):
        field, names = "channel", {trigger.channel: _literal_prefix(trigger)}
    else:
        field = "queue" if isinstance(trigger, QueueTrigger) else "keys"
        related = trigger.related_names if isinstance(trigger, QueueTrigger) else ()
        names = {key: key for key in (*trigger.keys, *related)}
    for name, prefix in names.items():
        if limits.key_prefixes and not prefix.startswith(limits.key_prefixes):
            raise ConnectionNotAllowedError(
                field,
                name,
                f"It is outside the `key_prefixes` of connection {trigger.connection!r}. Add its prefix to them in the "
                "settings.",
            )


def _check_listens_to_nobody(trigger: Trigger | QueueTrigger) -> None:
    """Raise ConnectionNotAllowedError for a trigger that needs a subscription, which such a Redis does not get."""
    if isinstance(trigger, CeleryQueue) and not trigger.acks_late:
        raise ConnectionNotAllowedError(
            "connectionString",
            None,
            "Without acksLate, the scaler listens to workers' heartbeats, which it does not by connection string. "
            "Define a connection in the scaler's settings and name it with `connection`, or set acksLate.",
        )


def _literal_prefix(trigger: PubSubTrigger) -> str:
    """Return what each channel of the trigger begins with: its name, or its pattern up to the first wildcard."""
    if not trigger.is_pattern:
        return trigger.channel
    literal = re.match(r"(?s)(?:\\.|[^\\*?\[])*", trigger.channel)
    return re.sub(r"(?s)\\(.)", r"\1", literal[0]) if literal is not None else ""


def limits_of(connection: ConnectionSettings) -> ConnectionLimits | None:
    """Return the limits of a connection, or None if it has none."""
    limits = ConnectionLimits(frozenset(connection.namespaces), tuple(connection.key_prefixes))
    return limits if limits != ConnectionLimits() else None


def check_namespaces_are_trusted(connection: str, scaler: ScalerSettings) -> None:
    """Raise ConfigurationError unless the namespaces that requests claim can be trusted: without that, the limits of
    this connection would be void.
    """
    mutual_tls = scaler.tls is not None and scaler.tls.client_ca_file is not None
    if not mutual_tls and not scaler.trust_network:
        raise ConfigurationError(
            "connections",
            connection,
            "It has limits, but any client of the gRPC port can claim any namespace. Set scaler.tls with "
            "client_ca_file, so that only KEDA's certificate is accepted; or let a NetworkPolicy admit only KEDA and "
            "set scaler.trust_network: true; or remove the limits.",
        )
