"""When to ask Redis what a command did whose answer was lost."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass

from listeners.errors import SourceTimeoutError, SourceUnavailableError

__all__ = ["ANSWER_LOST", "LostAnswers"]

#: After these errors the command may have been executed.
ANSWER_LOST = (SourceUnavailableError, SourceTimeoutError, asyncio.CancelledError)
#: When the question is repeated after its first answer: Redis may execute a command after its connection was lost.
REPEATED_AFTER_SECONDS = (1.0, 5.0)


@dataclass(slots=True, eq=False)
class _Question:
    """A question that is due at a time (time.monotonic), and how often and when it was answered first."""

    due_at: float = 0.0
    answers: int = 0
    answered_at: float = 0.0


class LostAnswers:
    """The keys for which an answer was lost.

    The question what the command did is due at once, and again after REPEATED_AFTER_SECONDS. It is closed with the last
    answer.
    """

    def __init__(self) -> None:
        self._questions: dict[str, _Question] = {}
        self._asking: set[str] = set()

    def note(self, key: str) -> None:
        """Note that an answer was lost, or that the last answer to the question was incomplete."""
        self._questions[key] = _Question()

    def close(self, key: str) -> None:
        """Ask no more, unless another answer is lost."""
        self._questions.pop(key, None)

    def is_open(self, key: str) -> bool:
        """Return whether the question is due, now or later."""
        return key in self._questions

    def is_asking(self, key: str) -> bool:
        """Return whether the question is being asked."""
        return key in self._asking

    def is_due(self, key: str) -> bool:
        """Return whether to ask now. The caller then asks, within asking()."""
        question = self._questions.get(key)
        return question is not None and key not in self._asking and time.monotonic() >= question.due_at

    def seconds_to_next(self, key: str) -> float | None:
        """Return in how many seconds the question is due; None if it is closed."""
        question = self._questions.get(key)
        return max(0.0, question.due_at - time.monotonic()) if question is not None else None

    @contextlib.contextmanager
    def asking(self, key: str) -> Iterator[None]:
        """Ask in this block, while no other caller does. A refusal is an answer; a lost answer is none."""
        question = self._questions[key]
        self._asking.add(key)
        answered = True
        try:
            yield
        except ANSWER_LOST:
            answered = False
            raise
        finally:
            self._asking.discard(key)
            if answered and self._questions.get(key) is question:
                self._answered(key, question)

    def _answered(self, key: str, question: _Question) -> None:
        if question.answers == len(REPEATED_AFTER_SECONDS):
            self.close(key)
            return
        if question.answers == 0:
            question.answered_at = time.monotonic()
        question.due_at = question.answered_at + REPEATED_AFTER_SECONDS[question.answers]
        question.answers += 1
