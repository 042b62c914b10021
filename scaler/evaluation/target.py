"""What should run: the target of a trigger, of an app, and how fast to follow it. Pure."""

from collections.abc import Iterable

__all__ = ["app_target", "instances_for"]


def instances_for(backlog: int, messages_per_worker: int) -> int:
    """ceil(backlog / messages_per_worker): the instances that a list or stream trigger wants."""
    return -(-backlog // messages_per_worker)


def app_target(targets: Iterable[int]) -> int:
    """The largest of its triggers' targets, as the HPA has it."""
    return max(targets, default=0)
