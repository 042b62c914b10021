"""Detects other packages named `listeners` or `scaler` that hide Triggerfish's; both names are common."""

import sys
from importlib.util import find_spec
from pathlib import Path

__all__ = ["shadowing_problem"]

PACKAGES = ("listeners", "scaler")
#: The beginning of the docstrings of both packages.
MARK = b'"""Triggerfish'


def shadowing_problem() -> str:
    """Return which file hides one of the packages, and the fix; empty if none is hidden."""
    home = Path(__file__).parents[1]
    for name in PACKAGES:
        origin = _origin(name)
        if origin is None:
            return f"Triggerfish's package {name!r} is missing from {home}: install triggerfish again."
        if origin.parents[1] != home:
            return (
                f"{origin} hides Triggerfish's package {name!r}: rename it, or keep its folder off sys.path. "
                "The command `triggerfish` does; `python -m triggerfish` needs -P."
            )
        if origin.is_file() and not origin.read_bytes().startswith(MARK):
            return (
                f"{origin} belongs to another distribution, which has replaced Triggerfish's package {name!r}: "
                "uninstall that one and reinstall triggerfish, or use separate environments."
            )
    return ""


def _origin(name: str) -> Path | None:
    """Return the file that `import name` would run, without running it."""
    loaded = sys.modules.get(name)
    spec = getattr(loaded, "__spec__", None) or find_spec(name)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None
