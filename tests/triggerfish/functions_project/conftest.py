"""Fixtures: every test has the environment and the modules that it began with."""

import os
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what loading a project does to the process: variables of local.settings.json, sys.path and modules."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    variables, modules = dict(os.environ), set(sys.modules)
    yield
    os.environ.clear()
    os.environ.update(variables)
    for name in set(sys.modules) - modules:
        if not name.startswith(("azure", "werkzeug", "markupsafe", "listeners", "scaler", "triggerfish", "tests")):
            del sys.modules[name]
