"""The status of a trigger, for JSON, tables and the status page."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from listeners.functions.triggers import PubSubTrigger
from scaler.evaluation.evaluator import Evaluation, TrackedTrigger
from scaler.measuring.backlog import KeyBacklog
from scaler.triggers.owner import Owner

__all__ = ["KeyStatus", "LagStatus", "TriggerStatus", "api_path", "list_as_json", "owner_and_metric", "trigger_status"]


class _StatusModel(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class LagStatus(_StatusModel):
    """The lag of a stream's group, how it was obtained, and whether counting stopped at its limit."""

    entries: int
    how: str
    capped: bool


class KeyStatus(_StatusModel):
    """The backlog of one key. Lists have `in_flight`; streams have `pending` and `lag`; queues of other libraries have
    `in_flight`, `due` and `scheduled`, and `next_due` if there is a scheduled job (RFC 3339).
    """

    key: str
    length: int
    in_flight: int | None = None
    pending: int | None = None
    lag: LagStatus | None = None
    due: int | None = None
    scheduled: int | None = None
    next_due: str | None = None
    paused: bool = False


class TriggerStatus(_StatusModel):
    """A trigger: what it reads and, if known, its backlog and target.

    An unknown trigger has no `target`, `active` or `backlog`, but a `reason` (a short stable word) and usually an
    `error` (a sentence). With `capped`, there may be more entries than `backlog`. `watched` is how the scaler notices
    changes, `doubt` why a queue may be misspelt (only from `triggerfish explain`), and `path` its path below
    /api/v1/triggers/.
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
    watched: str | None = None
    doubt: str | None = None
    backlog: int | None = None
    capped: bool = False
    keys: tuple[KeyStatus, ...] = ()

    @property
    def label(self) -> str:
        """What people call it: its name in the settings, its function, or else what it reads."""
        return (self.scaled_object if self.declared else "") or self.function or self.reads

    def as_json(self) -> dict[str, Any]:
        """Return the names and values of the HTTP API, without those that are unknown or do not apply."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def trigger_status(tracked: TrackedTrigger) -> TriggerStatus:
    """Return the current status of a trigger."""
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
        messages_per_worker=None if isinstance(trigger, PubSubTrigger) else trigger.messages_per_worker,
        known=known is not None,
        **(_unknown(tracked) if known is None else _known(known)),
    )


def list_as_json(tracked: Iterable[TrackedTrigger], problems: Sequence[str] = ()) -> Iterator[str]:
    """Yield all triggers as the JSON of /api/v1/triggers. Each piece takes little time to make.

    `problems` say why triggers may be missing.
    """
    yield '{"triggers": ['
    separator = ""
    for trigger in tracked:
        yield separator + json.dumps(trigger_status(trigger).as_json())
        separator = ", "
    yield f'], "problems": {json.dumps(list(problems))}}}'


def api_path(owner: Owner, metric_name: str) -> str:
    """Return a trigger's path: NAMESPACE/NAME/METRIC, or NAME/METRIC if it is declared. Each part is escaped."""
    parts = (owner.name,) if owner.declared else (owner.namespace, owner.name)
    return "/".join(quote(part, safe="") for part in (*parts, metric_name))


def owner_and_metric(path: str) -> tuple[Owner, str] | None:
    """Parse a path of api_path(). Returns None if it cannot be a trigger's path."""
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
        "watched": last.watched or None,
        "backlog": backlog.entries if backlog else None,
        "capped": backlog is not None and backlog.capped,
        "keys": tuple(_key(key) for key in backlog.keys) if backlog else (),
    }


def _key(key: KeyBacklog) -> KeyStatus:
    if (jobs := key.jobs) is not None:
        return KeyStatus(
            key=key.key,
            length=key.length,
            in_flight=key.in_flight,
            due=jobs.due,
            scheduled=jobs.scheduled,
            next_due=_time(jobs.next_due_at),
            paused=jobs.paused,
        )
    if key.lag is None:
        return KeyStatus(key=key.key, length=key.length, in_flight=key.in_flight)
    lag = LagStatus(entries=key.lag.entries, how=key.lag.how, capped=key.lag.capped)
    return KeyStatus(key=key.key, length=key.length, pending=key.pending, lag=lag)


def _time(timestamp: float | None) -> str | None:
    """Return a time as text; None for one that no calendar has."""
    try:
        return None if timestamp is None else f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (ValueError, OverflowError, OSError):
        return None
