"""Creates the source of each kind of trigger."""

from listeners.engine.metrics import FunctionMetrics
from listeners.engine.source import Source
from listeners.functions.app import Function
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger
from listeners.host.clients import SharedClient
from listeners.keys import lease_key
from listeners.leases.handover import Handover
from listeners.leases.kubernetes_lease import open_kubernetes_lease, wants_kubernetes
from listeners.leases.lease import Lease
from listeners.leases.redis_lease import RedisLease
from listeners.lists.source import ListSource
from listeners.pubsub.source import PubSubSource
from listeners.redis.client import Client
from listeners.settings import HostSettings
from listeners.streams.source import StreamSource

__all__ = ["MAX_BYTES", "source_for"]

#: How many bytes of entries a process has in progress, and how many of messages it queues: in equal parts for all
#: functions, so that their number does not change how much memory a process needs.
MAX_BYTES = 32 * 1024 * 1024


def source_for(
    function: Function,
    shared: SharedClient,
    settings: HostSettings,
    *,
    app_name: str,
    instance: str,
    metrics: FunctionMetrics,
    max_bytes: int = MAX_BYTES,
) -> Source:
    """Return the source of a function's trigger. It connects on first use, and queues at most `max_bytes`."""
    trigger, name, client = function.trigger, function.name, shared.commands
    if isinstance(trigger, ListTrigger):
        return ListSource(
            trigger,
            name,
            client,
            shared.leases,
            shared.watch,
            lease_seconds=settings.lease_seconds,
            metrics=metrics,
        )
    if isinstance(trigger, StreamTrigger):
        return StreamSource(
            trigger,
            name,
            client,
            shared.leases,
            shared.watch,
            instance=instance,
            lease_seconds=settings.lease_seconds,
            metrics=metrics,
        )
    if trigger.singleton:
        metrics.lease_held(False)  # from the start, to show if no instance ever acquires it
    lease, handover = _lease_for(trigger, client, settings, app_name=app_name, function_name=name, instance=instance)
    return PubSubSource(
        trigger,
        name,
        client,
        shared.subscriptions,
        lease=lease,
        handover=handover,
        lease_seconds=settings.pubsub_lease_seconds,
        max_bytes=max_bytes,
        on_drop=metrics.dropped.inc,
        on_lease=metrics.lease_held if trigger.singleton else lambda held: None,
    )


def _lease_for(
    trigger: PubSubTrigger, client: Client, settings: HostSettings, *, app_name: str, function_name: str, instance: str
) -> tuple[Lease | None, Handover | None]:
    """Return a pub/sub function's lease and handover, if any. A Kubernetes lease is only released, not handed over."""
    if not trigger.singleton:
        return None, None
    if wants_kubernetes(settings.pubsub_lease):
        return open_kubernetes_lease(app_name, function_name, instance, settings.pubsub_lease_seconds), None
    lease = RedisLease(client, lease_key(app_name, function_name), instance, settings.pubsub_lease_seconds)
    return lease, Handover(lease)
