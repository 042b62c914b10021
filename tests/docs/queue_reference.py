"""Generates the reference page of queue triggers from code."""

import re
from collections.abc import Callable, Iterator

from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from listeners.redis.scripts import ScriptCall
from scaler.queues.libraries import QUEUE_TYPES
from scaler.queues.refused import REFUSED
from scaler.queues.trigger import QueueTrigger

__all__ = ["queue_lines"]

#: Keys that are read only in some cases, and whose names are found in other keys.
MORE_KEYS = {
    "CeleryQueue": (
        "| `unacked` | searched for messages of the queues, unless all count | `EVALSHA_RO`, `EVAL_RO`, `HSCAN` |",
        "| `_kombu.binding.*` | the queues of exchanges of these messages | `SRANDMEMBER` |",
        "| channel `/0.celeryev/worker.heartbeat` | running, without `acksLate` (0: the database) | `SUBSCRIBE` |",
    ),
    "AsynqQueue": ("| `asynq:{QUEUE}:g:*` | waiting to be aggregated | `ZCARD` in a script |",),
    "DramatiqQueue": ("| `dramatiq:QUEUE.DQ.msgs` | when they are due | `EVALSHA_RO`, `EVAL_RO`, `HSCAN` |",),
    "SidekiqQueue": (
        "| `*:work`, `*:workers` | in progress | `HVALS` in a script |",
        "| `queue:sq\\|*\\|QUEUE` | in progress, with `superFetch` | `LLEN` in a script |",
    ),
}


def queue_lines(
    *, meaning: Callable[[FieldInfo], str], default: Callable[[FieldInfo], str], sentence: Callable[[type], str]
) -> list[str]:
    """Return the lines of the page of queue triggers: their parameters, and the keys that they read."""

    def row(name: str, field: FieldInfo) -> str:
        value = field.get_default()
        if isinstance(value, tuple):
            shown = f"`{','.join(map(str, value))}`"
        elif isinstance(value, str):
            shown = f"`{_escaped(value)}`" if value else "empty"
        else:
            shown = default(field)
        return f"| `{to_camel(name)}` | {shown} | {meaning(field)} |"

    classes = list(QUEUE_TYPES.values())
    common = {"connection", "connection_string", "queue", "messages_per_worker"}
    lines = [
        "# Queue triggers",
        "",
        "The scaler measures queues of other libraries, whose workers run without Triggerfish. These triggers stand in",
        "the metadata of a ScaledObject, or under `triggers` in the scaler's settings. The case of `type` does not",
        "matter. An unknown parameter or a bad value is an error that names the field, the value and the fix.",
        "",
        "    backlog = waiting + due + in progress      of a paused queue: in progress",
        "",
        "Jobs that dead workers have left behind are in progress, because only a running worker repairs them.",
        "Scheduled jobs do not count before their time has come; a trigger with an open StreamIsActive is active at",
        "that moment.",
        "",
        "## All types",
        "",
        "| parameter | default | meaning |",
        "|---|---|---|",
        *(row(name, field) for name, field in QueueTrigger.model_fields.items()),
        "| `activationMessages` | `0` | the trigger is active with more jobs than this (at least 0) |",
        "| `maxInstances` |  | the maximum target (at least 1) |",
        "| `function`, `app` |  | labels of metrics and pages |",
    ]
    for cls in classes:
        lines += [
            "",
            f"## `{cls.type_name}`",
            "",
            sentence(cls),
            "",
            "| parameter | default | meaning |",
            "|---|---|---|",
        ]
        fields = cls.model_fields.items()
        lines += [row(name, field) for name, field in fields if name not in common or name == "queue"]
        lines += ["", "| key | jobs in it | commands |", "|---|---|---|", *_keys(cls)]
        lines += ["", f"Commands that Redis runs for one sample of one queue: {_sample(cls).commands_per_reading}."]
    lines += [
        "",
        "## Refused types",
        "",
        "| type | reason |",
        "|---|---|",
        *(f"| `{name}` | {reason} |" for name, reason in REFUSED.items()),
        "",
        "## Rights",
        "",
        "A user with an ACL needs the commands above on the keys above, the commands of every connection",
        "(`client|setname`, `client|setinfo`, `info`, `ping`, `multi`, `exec`), and `client|tracking` and `exists`,",
        "without which the trigger is polled. On a cluster it also needs `cluster|slots` and `cluster|nodes`. A key",
        "that is denied, or has another type, is an error and never 0.",
    ]
    return lines


def _keys(cls: type[QueueTrigger]) -> Iterator[str]:
    """Yield a row for each key of a queue with the default options."""
    for _, part in _sample(cls).layout:
        commands = [command[0] for command in part.commands(0.0)]
        extra = part.apart(0.0)
        if isinstance(extra, ScriptCall):
            called = re.findall(r"redis\.call\('(\w+)'", extra.script.source)
            commands += ["EVALSHA_RO", "EVAL_RO", *(name for name in called if name not in ("LLEN", "HVALS"))]
        elif extra is not None:
            commands.append(str(extra[0]))
        shown = ", ".join(f"`{name}`" for name in dict.fromkeys(commands))
        yield f"| `{_escaped(part.key)}` | {part.state} | {shown} |"
    yield from MORE_KEYS.get(cls.type_name, ())


def _sample(cls: type[QueueTrigger]) -> QueueTrigger:
    required = {name: "PREFIX" for name, field in cls.model_fields.items() if field.is_required()}
    return cls.model_validate({**required, "queue": "QUEUE"})


def _escaped(text: str) -> str:
    """Return text with control characters as they are written in Python and YAML."""
    return ascii(text)[1:-1]
