"""Fixture: a folder to load apps from."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.listeners.functions.app_files import HANDLERS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder; modules that a test imports are removed after it."""
    known = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "handlers_of_declaration.py").write_text(HANDLERS)
    importlib.invalidate_caches()
    yield tmp_path
    for name in set(sys.modules) - known:
        del sys.modules[name]
