"""Detects other packages named `listeners` or `scaler` that hide Triggerfish's; both names are common."""

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

__all__ = ["shadowing_problem"]

#: The docstrings of our packages begin with this.
MARK = '"""Triggerfish'


def shadowing_problem(*names: str) -> str:
    """Return which file hides one of these packages, and the fix; empty if none is hidden."""
    if __spec__ is None or not __spec__.has_location:
        return ""  # frozen into the interpreter, which looks there first
    home = Path(__file__).parents[1]
    for name in names:
        spec = _spec(name)
        if spec is None or spec.origin is None:
            return f"Triggerfish's package {name!r} is missing from {home}: install triggerfish again."
        folder = Path(spec.origin).parent
        if folder != home / name and folder.resolve() != (home / name).resolve():
            return (
                f"{spec.origin} hides Triggerfish's package {name!r}: rename it, or keep its folder off sys.path. "
                "The command `triggerfish` does; `python -m triggerfish` needs -P."
            )
        if not _has_mark(spec):
            return (
                f"{spec.origin} belongs to another distribution, which has replaced Triggerfish's package {name!r}: "
                "uninstall that one and reinstall triggerfish, or use separate environments."
            )
    return ""


def _spec(name: str) -> ModuleSpec | None:
    """Return where `import name` finds its module. Importing it would run whatever it holds."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    return loaded if isinstance(loaded, ModuleSpec) else find_spec(name)


def _has_mark(spec: ModuleSpec) -> bool:
    """Return whether the source is ours. Bytecode without a source is: where there is one, Python prefers it."""
    get_source = getattr(spec.loader, "get_source", None)
    source = get_source(spec.name) if get_source is not None else None
    return source is None or source.startswith(MARK)
