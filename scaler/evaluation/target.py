"""The target: how many instances a trigger and an app want. Pure."""

from collections.abc import Iterable

__all__ = ["PUBSUB_TARGET", "app_target", "instances_for"]

#: Every subscriber receives every message, so a pub/sub trigger always wants exactly one instance.
PUBSUB_TARGET = 1


def instances_for(backlog: int, messages_per_worker: int) -> int:
    """ceil(backlog / messages_per_worker): the instances that a list or stream trigger wants."""
    return -(-backlog // messages_per_worker)


def app_target(targets: Iterable[int]) -> int:
    """The largest of its triggers' targets, as the HPA has it."""
    return max(targets, default=0)
