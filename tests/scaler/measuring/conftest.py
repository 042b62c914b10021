"""Fixtures for tests that measure backlogs."""

import pytest


@pytest.fixture(autouse=True)
def _no_count_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give counting enough time to be exact on a busy machine."""
    monkeypatch.setattr("scaler.measuring.counting.COUNT_SECONDS", 60.0)
