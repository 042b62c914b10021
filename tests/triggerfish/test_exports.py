"""What packages and modules export."""

import importlib
import pkgutil

import pytest

import listeners
import scaler

MODULES = [
    module.name
    for package in (listeners, scaler)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not module.ispkg and "_pb2" not in module.name
]


@pytest.mark.parametrize("module", MODULES)
def test_exported_names_exist(module: str) -> None:
    """Every name in `__all__` exists and is listed once."""
    imported = importlib.import_module(module)
    exported: list[str] = getattr(imported, "__all__", [])
    assert [name for name in exported if not hasattr(imported, name)] == []
    assert len(set(exported)) == len(exported)


def test_the_package_exports_what_an_app_needs() -> None:
    """The package exports the names that the documentation uses."""
    assert {"App", "Host", "RedisMessage", "Reject", "Retry"} <= set(listeners.__all__)
    assert all(hasattr(listeners, name) for name in listeners.__all__)
