"""A tracked trigger as one scaler sends it to another, on a line of JSON."""

import time
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from listeners.functions.triggers import ConnectedTrigger, ListTrigger, PubSubTrigger, StreamTrigger
from scaler.evaluation.evaluator import Evaluation, TrackedTrigger
from scaler.evaluation.history import History
from scaler.measuring.backlog import Backlog
from scaler.queues.libraries import QUEUE_TYPES
from scaler.triggers.metadata import ScaledTrigger
from scaler.triggers.owner import Owner

__all__ = ["PeerTrigger"]


CLASSES: tuple[type[ConnectedTrigger], ...] = (ListTrigger, StreamTrigger, PubSubTrigger, *QUEUE_TYPES.values())
TYPES = {cls.type_name: cls for cls in CLASSES}


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
    type: str
    scaled: ScaledTrigger
    requested_seconds_ago: float
    last: PeerEvaluation | None = None
    reason: str | None = None
    error: str | None = None
    #: The points of the history: how many slots ago, and the backlog.
    points: list[tuple[int, int | None]] = []

    @field_validator("scaled", mode="before")
    @classmethod
    def _of_its_type(cls, scaled: Any, info: ValidationInfo) -> Any:
        """Read the trigger as one of its type: those of several libraries have the same fields."""
        found = TYPES.get(info.data.get("type", ""))
        if found is None:
            raise ValueError("a trigger of an unknown type")
        return {**scaled, "trigger": found.model_validate(scaled.get("trigger"))}

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
            type=tracked.scaled.trigger.type_name,
            scaled=tracked.scaled,
            requested_seconds_ago=now - tracked.requested_at,
            last=evaluation,
            reason=tracked.reason,
            error=tracked.error,
            points=list(tracked.history.points(now)),
        )

    def as_line(self) -> bytes:
        """Return it as a line of JSON."""
        secret = {"scaled": {"trigger": {"connection_string"}}}
        return self.model_dump_json(exclude=secret, serialize_as_any=True).encode() + b"\n"

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
