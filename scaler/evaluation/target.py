"""The target: how many instances a trigger and an app need. No I/O."""

from collections.abc import Iterable

__all__ = ["PUBSUB_TARGET", "app_target", "instances_for"]

#: Every subscriber receives every message, so a pub/sub trigger always needs exactly one instance.
PUBSUB_TARGET = 1


def instances_for(backlog: int, messages_per_worker: int) -> int:
    """Return ceil(backlog / messages_per_worker), the number of instances for a list or stream trigger."""
    return -(-backlog // messages_per_worker)


def app_target(targets: Iterable[int]) -> int:
    """Return the largest target of an app's triggers, as the HPA does."""
    return max(targets, default=0)
