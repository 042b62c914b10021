"""Fixtures of the tests that measure backlogs."""

import pytest


@pytest.fixture(autouse=True)
def _time_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting is exact while there is time for it: what it finds must not depend on how busy the machine is."""
    monkeypatch.setattr("scaler.measuring.counting.COUNT_SECONDS", 60.0)
