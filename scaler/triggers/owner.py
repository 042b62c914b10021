"""The owner of a trigger."""

from dataclasses import dataclass

__all__ = ["Owner"]


@dataclass(frozen=True)
class Owner:
    """The owner of a trigger: a ScaledObject, or the operator if `declared`.

    The operator owns the triggers in the settings, and those of an app on this machine.
    """

    namespace: str
    name: str
    declared: bool = False
