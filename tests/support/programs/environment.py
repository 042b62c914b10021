"""The environment of a process that a test starts."""

import os

__all__ = ["environment"]


def environment(**settings: str) -> dict[str, str]:
    """Return this process's environment with only these TRIGGERFISH_ variables, such as CONNECTION."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIGGERFISH_")}
    return {**inherited, **{f"TRIGGERFISH_{name}": value for name, value in settings.items()}}
