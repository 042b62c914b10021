"""What is known of a trigger, as everyone is shown it: as JSON, in tables and on the status page."""

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from listeners.functions.triggers import PolledTrigger, PubSubTrigger
from scaler.evaluation.evaluator import Evaluation, TrackedTrigger
from scaler.measuring.backlog import KeyBacklog
from scaler.triggers.owner import Owner

__all__ = ["KeyStatus", "LagStatus", "TriggerStatus", "api_path", "list_as_json", "owner_and_metric", "trigger_status"]


class _Shown(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class LagStatus(_Shown):
    """The lag of a stream's group, how it was obtained, and whether counting stopped at its limit."""

    entries: int
    how: str
    capped: bool


class KeyStatus(_Shown):
    """The backlog of one key: `in_flight` of a list, `pending` and `lag` of a stream."""

    key: str
    length: int
    in_flight: int | None = None
    pending: int | None = None
    lag: LagStatus | None = None


class TriggerStatus(_Shown):
    """A trigger: what it reads and, if that is known, what waits and what should run.

    If it is not known there is no `target`, `active` or `backlog`, but a `reason` (a short stable word) and mostly an
    `error` (a sentence). `path` leads to it, below /api/v1/triggers/.
    """

    path: str
    namespace: str
    scaled_object: str
    declared: bool = False
    metric_name: str
    app: str
    function: str
    type: str
    reads: str
    connection: str | None = None
    channel: str | None = None
    messages_per_worker: int | None = None
    known: bool
    reason: str | None = None
    error: str | None = None
    target: int | None = None
    active: bool | None = None
    sample_age_seconds: float | None = None
    backlog: int | None = None
    keys: tuple[KeyStatus, ...] = ()

    @property
    def capped(self) -> bool:
        """Whether there may be more entries than `backlog` says."""
        return any(key.lag is not None and key.lag.capped for key in self.keys)

    def as_json(self) -> dict[str, Any]:
        """The names and values of the HTTP interface; what does not apply or is not known is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def trigger_status(tracked: TrackedTrigger) -> TriggerStatus:
    """What is known of a trigger now."""
    scaled, trigger, last = tracked.scaled, tracked.scaled.trigger, tracked.last
    known = last if tracked.known else None
    return TriggerStatus(
        path=api_path(tracked.owner, scaled.metric_name),
        namespace=tracked.owner.namespace,
        scaled_object=tracked.owner.name,
        declared=tracked.owner.declared,
        metric_name=scaled.metric_name,
        app=scaled.app,
        function=scaled.function,
        type=trigger.type_name,
        reads=trigger.reads,
        connection=trigger.connection,
        channel=trigger.channel if isinstance(trigger, PubSubTrigger) else None,
        messages_per_worker=trigger.messages_per_worker if isinstance(trigger, PolledTrigger) else None,
        known=known is not None,
        **(_unknown(tracked) if known is None else _known(known)),
    )


def list_as_json(tracked: Iterable[TrackedTrigger]) -> Iterator[str]:
    """All triggers as /api/v1/triggers has them, in pieces that are quickly made."""
    yield '{"triggers": ['
    separator = ""
    for one in tracked:
        yield separator + json.dumps(trigger_status(one).as_json())
        separator = ", "
    yield "]}"


def api_path(owner: Owner, metric_name: str) -> str:
    """The path of a trigger, NAMESPACE/NAME/METRIC or, of a declared one, NAME/METRIC; every part is escaped."""
    parts = (owner.name,) if owner.declared else (owner.namespace, owner.name)
    return "/".join(quote(part, safe="") for part in (*parts, metric_name))


def owner_and_metric(path: str) -> tuple[Owner, str] | None:
    """What a path, escaped as api_path makes it, names; None if it cannot name a trigger."""
    match [unquote(part) for part in path.split("/")]:
        case [namespace, name, metric]:
            return Owner(namespace, name), metric
        case [name, metric]:
            return Owner("", name, declared=True), metric
        case _:
            return None


def _unknown(tracked: TrackedTrigger) -> dict[str, Any]:
    return {"reason": tracked.reason or "not measured yet", "error": tracked.error}


def _known(last: Evaluation) -> dict[str, Any]:
    backlog = last.backlog
    return {
        "target": last.target,
        "active": last.active,
        "sample_age_seconds": round(last.age_seconds, 3),
        "backlog": backlog.entries if backlog else None,
        "keys": tuple(_key(key) for key in backlog.keys) if backlog else (),
    }


def _key(key: KeyBacklog) -> KeyStatus:
    if key.lag is None:
        return KeyStatus(key=key.key, length=key.length, in_flight=key.in_flight)
    lag = LagStatus(entries=key.lag.entries, how=key.lag.how, capped=key.lag.capped)
    return KeyStatus(key=key.key, length=key.length, pending=key.pending, lag=lag)
