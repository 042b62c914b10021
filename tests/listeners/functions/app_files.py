"""Apps in files of a temporary folder, for tests of loading them."""

import importlib
from pathlib import Path

import pytest

from listeners.errors import ConfigurationError
from listeners.functions.loading import load_app

__all__ = ["APP", "HANDLERS", "load_error", "write"]

APP = """
from triggerfish import App, RedisMessage
app = App({name})

@app.list_trigger(keys="{key}")
def handle(message: RedisMessage) -> None: ...
"""
HANDLERS = """
def handle(message): ...
async def settle(payments: list[bytes]): ...
def two(a, b): ...
value = 5
"""


def write(path: str, source: str | None = None, *, name: str = "", key: str = "q") -> None:
    """Write a module; without `source`, an app with one function."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(APP.format(name=name, key=key) if source is None else source)
    importlib.invalidate_caches()


def load_error(reference: str) -> ConfigurationError:
    """Return the error of loading `reference`, which always has a fix."""
    with pytest.raises(ConfigurationError) as caught:
        load_app(reference)
    assert caught.value.fix.endswith(".")
    return caught.value
