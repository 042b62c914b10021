"""A tracked trigger as one scaler sends it to another, on a line of JSON."""

import time
from typing import Self

from pydantic import BaseModel, ConfigDict

from scaler.evaluation.evaluator import Evaluation, TrackedTrigger
from scaler.evaluation.history import History
from scaler.measuring.backlog import Backlog
from scaler.triggers.metadata import ScaledTrigger
from scaler.triggers.owner import Owner

__all__ = ["PeerTrigger"]


class PeerEvaluation(BaseModel):
    """An Evaluation. Ages are sent, because each process has a clock of its own."""

    model_config = ConfigDict(frozen=True)

    target: int
    active: bool
    backlog: Backlog | None
    age_seconds: float
    watched: str = ""

    def evaluation(self, now: float) -> Evaluation:
        """Return it by this process's clock."""
        return Evaluation(self.target, self.active, self.backlog, now - self.age_seconds, watched=self.watched)


class PeerTrigger(BaseModel):
    """A tracked trigger, without its connection string, which may contain a password."""

    model_config = ConfigDict(frozen=True)

    owner: Owner
    scaled: ScaledTrigger
    requested_seconds_ago: float
    last: PeerEvaluation | None = None
    reason: str | None = None
    error: str | None = None
    #: The points of the history: how many slots ago, and the backlog.
    points: list[tuple[int, int | None]] = []

    @classmethod
    def of(cls, tracked: TrackedTrigger) -> Self:
        """Return what to send of a trigger."""
        now, last = time.monotonic(), tracked.last
        evaluation = last and PeerEvaluation(
            target=last.target,
            active=last.active,
            backlog=last.backlog,
            age_seconds=last.age_seconds,
            watched=last.watched,
        )
        return cls.model_construct(
            owner=tracked.owner,
            scaled=tracked.scaled,
            requested_seconds_ago=now - tracked.requested_at,
            last=evaluation,
            reason=tracked.reason,
            error=tracked.error,
            points=list(tracked.history.points(now)),
        )

    def as_line(self) -> bytes:
        """Return it as a line of JSON."""
        return self.model_dump_json(exclude={"scaled": {"trigger": {"connection_string"}}}).encode() + b"\n"

    def tracked(self) -> TrackedTrigger:
        """Return the trigger as if this process had tracked it."""
        now = time.monotonic()
        return TrackedTrigger(
            self.owner,
            self.scaled,
            requested_at=now - self.requested_seconds_ago,
            last=self.last.evaluation(now) if self.last is not None else None,
            reason=self.reason,
            error=self.error,
            history=History.of(now, self.points),
        )
