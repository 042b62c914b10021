"""Pauses between retries."""

import pytest

from listeners.runtime.backoff import Backoff


def test_pauses_double_up_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pause is twice the previous one, up to the last; after a success, they start from the first again."""
    monkeypatch.setattr("listeners.runtime.backoff.random.uniform", lambda _, high: high)
    backoff = Backoff(0.25, 5.0)
    assert [backoff.pause_seconds() for _ in range(7)] == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.pause_seconds() == 0.25


def test_pauses_are_jittered() -> None:
    """Jitter spreads pauses between three quarters of the nominal pause and the whole, and never exceeds it."""
    pauses = [Backoff(1.0, 5.0).pause_seconds() for _ in range(100)]
    assert len(set(pauses)) > 50
    assert 0.75 <= min(pauses) <= max(pauses) <= 1.0
