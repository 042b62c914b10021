"""Optional packages that a command needs."""

from collections.abc import Iterator
from contextlib import contextmanager

from listeners.errors import MissingExtraError

__all__ = ["scaler_extra"]

#: The packages of the extra `scaler`, by the modules that they bring.
SCALER_MODULES = ("grpc", "grpc_health", "grpc_reflection", "google", "jinja2", "markupsafe")


@contextmanager
def scaler_extra(command: str) -> Iterator[None]:
    """Import in this block what a command needs of the extra `scaler`. Raises MissingExtraError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in SCALER_MODULES:
            fix = "It needs packages that are not installed: pip install 'triggerfish[scaler]'."
            raise MissingExtraError(f"triggerfish {command}", None, fix) from None
        raise
