"""Renders the status page: triggers by ScaledObject, with their state, backlog, target and errors."""

import base64
import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import nsmallest

from jinja2 import Environment, StrictUndefined

from listeners.text import printable
from listeners.version import __version__
from scaler.evaluation.evaluator import TrackedTrigger
from scaler.evaluation.history import HISTORY_SECONDS
from scaler.monitoring.status import KeyStatus, TriggerStatus, trigger_status
from scaler.web.backlog_chart import CHART_HEIGHT, CHART_WIDTH, Chart, chart
from scaler.web.pages import page_part

__all__ = ["PAGE_HEADERS", "status_page"]

#: The page shows at most this many triggers, the worst first.
MAX_TRIGGERS = 200
#: The page lists at most this many keys of a trigger.
MAX_KEYS = 8
#: Whether the triggers are declared, their namespace, and their ScaledObject or app.
GroupKey = tuple[bool, str, str]
STYLE, SCRIPT = page_part("status.css"), page_part("status.js")


def _source(text: str) -> str:
    """Return the source expression that allows an inline style or script in a Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


PAGE_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            f"style-src {_source(STYLE)}",
            f"script-src {_source(SCRIPT)}",
            "connect-src 'self'",  # the script reloads the page
            "img-src data:",  # the icon
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Row:
    """One trigger. `age_seconds` is the age of its last successful sample, if there was one."""

    status: TriggerStatus
    chart: Chart
    age_seconds: float | None

    @property
    def state(self) -> str:
        """Its state as one word."""
        if not self.status.known:
            return "unknown"
        return "active" if self.status.active else "inactive"

    @property
    def parts(self) -> list[str]:
        """The parts of the backlog, one line for each key."""
        keys = self.status.keys
        if len(keys) == 1:
            return [_parts(keys[0])]
        lines = [f"{printable(key.key, 60)}: {_parts(key)}" for key in keys[:MAX_KEYS]]
        return lines if len(keys) <= MAX_KEYS else [*lines, f"and {len(keys) - MAX_KEYS} more keys"]


@dataclass(frozen=True)
class Group:
    """The triggers of one ScaledObject, or the declared triggers of one app or of none.

    `hidden`: how many of them `rows` leaves out.
    """

    namespace: str
    name: str
    rows: tuple[Row, ...]
    hidden: int
    unknown: int
    target: int


def status_page(tracked: Iterable[TrackedTrigger], problems: Sequence[str] = ()) -> Iterator[str]:
    """Yield the page as HTML in pieces, some of them empty. Each piece takes little time to make.

    `problems` say why triggers may be missing.
    """
    overview = _Overview()
    for trigger in tracked:
        overview.add(trigger)
        yield ""
    groups: list[Group] = []
    for group in overview.worst_groups():
        groups.append(group)
        yield ""
    yield from _template.generate(
        groups=groups,
        problems=problems,
        total=overview.total,
        shown=sum(len(group.rows) for group in groups),
        unknown=overview.unknown,
        active=overview.active,
        now=datetime.now(UTC),
        version=__version__,
        style=STYLE,
        script=SCRIPT,
        chart_width=CHART_WIDTH,
        chart_height=CHART_HEIGHT,
        minutes=round(HISTORY_SECONDS / 60),
    )


class _Overview:
    """Counts all triggers, and groups them."""

    def __init__(self) -> None:
        self.total = self.unknown = self.active = 0
        self._groups: defaultdict[GroupKey, list[TrackedTrigger]] = defaultdict(list)
        self._severities: dict[GroupKey, int] = {}

    def add(self, trigger: TrackedTrigger) -> None:
        """Add a trigger in its current state."""
        key, severity = _group_key(trigger), _severity(trigger)
        self._groups[key].append(trigger)
        self._severities[key] = min(severity, self._severities.get(key, severity))
        self.total += 1
        self.unknown += not trigger.known
        self.active += trigger.known and trigger.last is not None and trigger.last.active

    def worst_groups(self) -> Iterator[Group]:
        """Yield the groups with the worst triggers, until they have MAX_TRIGGERS rows."""
        max_rows = MAX_TRIGGERS
        for key in nsmallest(MAX_TRIGGERS, self._groups, key=lambda key: (self._severities[key], key)):
            if max_rows == 0:
                break
            group = _group(key, self._groups[key], max_rows)
            max_rows -= len(group.rows)
            yield group


def _group(key: GroupKey, triggers: list[TrackedTrigger], max_rows: int) -> Group:
    declared, namespace, name = key
    triggers.sort(key=lambda one: (_severity(one), _label(one), one.scaled.metric_name))
    now = time.monotonic()
    return Group(
        namespace="declared" if declared else namespace,
        name=name or ("in the settings" if declared else ""),
        rows=tuple(_row(one, now) for one in triggers[:max_rows]),
        hidden=max(0, len(triggers) - max_rows),
        unknown=sum(not one.known for one in triggers),
        target=max((one.last.target for one in triggers if one.known and one.last), default=0),
    )


def _row(tracked: TrackedTrigger, now: float) -> Row:
    age_seconds = tracked.last.age_seconds if tracked.last else None
    return Row(trigger_status(tracked), chart(tracked.history.points(now)), age_seconds)


def _group_key(tracked: TrackedTrigger) -> GroupKey:
    """Return the group of a trigger: its ScaledObject, or the app of a declared trigger."""
    owner = tracked.owner
    return (owner.declared, owner.namespace, tracked.scaled.app if owner.declared else owner.name)


def _label(tracked: TrackedTrigger) -> str:
    return tracked.owner.name if tracked.owner.declared else tracked.scaled.function


def _severity(tracked: TrackedTrigger) -> int:
    """Return how urgently to show a trigger, 0 first: unknown, capped, active, inactive."""
    last = tracked.last
    if not tracked.known or last is None:
        return 0
    if last.backlog is not None and last.backlog.capped:
        return 1
    return 2 if last.active else 3


def _parts(key: KeyStatus) -> str:
    if key.due is not None:
        parts = f"{key.length:,} waiting + {key.due:,} due + {key.in_flight or 0:,} in progress"
        later = f", {key.scheduled:,} scheduled" if key.scheduled else ""
        return f"{parts}{later}{f', next at {key.next_due}' if key.next_due else ''}{', paused' if key.paused else ''}"
    if key.lag is None:
        return f"{key.length:,} waiting + {key.in_flight or 0:,} in flight"
    how = "at least" if key.lag.capped else key.lag.how
    return f"{key.pending or 0:,} pending + {key.lag.entries:,} lag ({how})"


def _age(seconds: float) -> str:
    """Return an age in words."""
    if seconds < 1:
        return "now"
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"


def _environment() -> Environment:
    """Return the template environment. It escapes every value; the template exempts our own style and script."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"age": _age, "printable": printable, "number": lambda number: f"{number:,}"}
    return environment


_template = _environment().from_string(page_part("status.html"))
