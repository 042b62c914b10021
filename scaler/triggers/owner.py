"""Origin: moved out of another file; say what belongs here."""

from dataclasses import dataclass

__all__ = ["Owner"]


@dataclass(frozen=True)
class Owner:
    """Who asks: a ScaledObject, or, if `declared`, the operator: in the settings, or for an app on this machine."""

    namespace: str
    name: str
    declared: bool = False
