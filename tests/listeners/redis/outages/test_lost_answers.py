"""When the question what a lost command did is asked."""

import pytest

from listeners.errors import CommandRefusedError, SourceUnavailableError
from listeners.redis.outages.lost_answers import LostAnswers

KEY = "key"


class Clock:
    """The time, in seconds."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the module, which stands still."""
    clock = Clock()
    monkeypatch.setattr("listeners.redis.outages.lost_answers.time", clock)
    return clock


def ask(lost: LostAnswers, error: Exception | None = None) -> None:
    """Ask, with an answer or an error."""
    with lost.asking(KEY):
        assert not lost.is_due(KEY)
        if error is not None:
            raise error


def test_the_question_is_repeated(clock: Clock) -> None:
    """It is due at once, after a second and after five, and then closed. Nothing is due for other keys."""
    lost = LostAnswers()
    assert not lost.is_due(KEY)
    lost.note(KEY)
    for pause in (1.0, 4.0):
        assert lost.is_due(KEY)
        ask(lost)
        assert not lost.is_due(KEY)
        clock.seconds += pause - 0.01
        assert not lost.is_due(KEY)
        clock.seconds += 0.01
    assert lost.is_due(KEY)
    assert lost.is_open(KEY)
    assert not lost.is_due("other")
    ask(lost)
    assert not lost.is_open(KEY)


def test_only_answers_count(clock: Clock) -> None:
    """If the answer to the question is lost, it stays due. A refusal is an answer."""
    lost = LostAnswers()
    lost.note(KEY)
    for _ in range(5):
        with pytest.raises(SourceUnavailableError):
            ask(lost, SourceUnavailableError("lost"))
        assert lost.is_due(KEY)
    for _ in range(3):
        with pytest.raises(CommandRefusedError):
            ask(lost, CommandRefusedError("refused"))
        clock.seconds += 5
    assert not lost.is_open(KEY)


@pytest.mark.usefixtures("clock")
def test_another_answer_is_lost_meanwhile() -> None:
    """An answer that is lost while the question is asked makes it due again, but only after that."""
    lost = LostAnswers()
    lost.note(KEY)
    with lost.asking(KEY):
        lost.note(KEY)
        assert not lost.is_due(KEY)
        assert lost.is_asking(KEY)
    assert lost.is_due(KEY)
