"""Pauses between tries."""

import pytest

from listeners.runtime.backoff import Backoff


def test_pauses_grow_to_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause is twice the one before, up to the last; after a success they begin anew."""
    monkeypatch.setattr("listeners.runtime.backoff.random.uniform", lambda _, high: high)
    backoff = Backoff(0.25, 5.0)
    assert [backoff.pause_seconds() for _ in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.pause_seconds() == 0.25


def test_pauses_are_jittered() -> None:
    """Those who failed at one time do not all come back at one time, and nobody later than agreed."""
    pauses = [Backoff(1.0, 5.0).pause_seconds() for _ in range(100)]
    assert len(set(pauses)) > 50
    assert 0.75 <= min(pauses) <= max(pauses) <= 1.0
