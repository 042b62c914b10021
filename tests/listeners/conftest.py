"""Fixtures of all tests of function hosts."""

import pytest


@pytest.fixture(autouse=True)
def only_reports_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no look come by itself, within a minute, to what Redis should have reported."""
    monkeypatch.setattr("listeners.tracking.lookout.VERIFY_SECONDS", 3600.0)
