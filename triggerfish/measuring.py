"""Measures triggers once, for commands."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from listeners.errors import SourceError, SourceTimeoutError
from scaler.access.access import Access
from scaler.evaluation.evaluator import Evaluator
from scaler.measuring.samplers import Samplers
from scaler.monitoring.status import TriggerStatus, trigger_status
from scaler.queues.trigger import QueueTrigger
from scaler.settings import Settings
from scaler.triggers.metadata import ScaledTrigger, read_metadata
from scaler.triggers.owner import Owner
from scaler.triggers.scaled_objects import metadata_from

__all__ = ["Explanation", "measured", "measured_metadata"]


@dataclass(frozen=True)
class Explanation:
    """Triggers, and a line for each one that could not be measured."""

    triggers: list[TriggerStatus]
    problems: list[str]


async def measured_metadata(pairs: list[str], settings: Settings) -> Explanation:
    """Measure the trigger of metadata, given as KEY=VALUE. Raises ConfigurationError."""
    scaled = read_metadata(metadata_from(pairs), settings.scaler.ignored_metadata)
    owner = Owner("", scaled.function or scaled.trigger.reads, declared=True)
    return await measured({owner: scaled}, settings)


async def measured(triggers: Mapping[Owner, ScaledTrigger], settings: Settings) -> Explanation:
    """Measure triggers once, read-only. What cannot be measured is a problem."""
    samplers = Samplers(bound_seconds=settings.scaler.bound_seconds, on_measured=lambda seconds, error: None)
    evaluator = Evaluator(Access(settings.redis_connections()), samplers)
    problems = []
    doubts: dict[Owner, str | None] = {}
    try:
        for owner, scaled in triggers.items():
            try:
                await _evaluate(evaluator, owner, scaled)
                doubts[owner] = await evaluator.doubt(owner, scaled)
            except SourceError as error:
                problems.append(f"{owner.name}: {error}")
    finally:
        await samplers.close()
    # They are measured once, and by this process.
    statuses = [
        trigger_status(tracked).model_copy(update={"watched": None, "doubt": doubts.get(tracked.owner)})
        for tracked in evaluator.tracked()
    ]
    return Explanation(statuses, problems)


async def _evaluate(evaluator: Evaluator, owner: Owner, scaled: ScaledTrigger) -> None:
    """Measure a trigger. Raises SourceError. Whether some queues are empty is known only after a while."""

    trigger = scaled.trigger
    until = time.monotonic() + (trigger.zero_seconds if isinstance(trigger, QueueTrigger) else 0.0)
    while True:
        try:
            await evaluator.evaluate(owner, scaled)
        except SourceTimeoutError:
            if time.monotonic() > until:
                raise
        else:
            return
