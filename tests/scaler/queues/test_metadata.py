"""Metadata of queue triggers: what is accepted, and what errors say."""

import pytest

from listeners.errors import ConfigurationError
from scaler.queues.celery import CeleryQueue
from scaler.queues.libraries import QUEUE_TYPES, LaravelQueue, RQQueue
from scaler.queues.refused import REFUSED
from scaler.triggers.metadata import read_metadata

REQUIRED = {"queue": "mail", "prefix": "shop"}


def required(type_name: str) -> dict[str, str]:
    """Return the least metadata of a type."""
    fields = QUEUE_TYPES[type_name.lower()].model_fields
    return {"type": type_name, **{name: REQUIRED[name] for name, field in fields.items() if field.is_required()}}


@pytest.mark.parametrize("spelling", ["CeleryQueue", "celeryqueue", "CELERYQUEUE"])
def test_every_field_of_celery(spelling: str) -> None:
    """Each field is read from text, and the type in any case."""
    scaled = read_metadata(
        {
            "scalerAddress": "scaler:6000",
            "type": spelling,
            "connection": "broker",
            "queue": "mails bulk",
            "globalKeyprefix": "shop:",
            "sep": ":",
            "prioritySteps": "0, 5",
            "unackedKey": "unacked:mails",
            "sharedUnacked": "queue",
            "acksLate": "true",
            "messagesPerWorker": "4",
            "activationMessages": "2",
            "maxInstances": "9",
            "function": "send",
            "app": "shop",
        }
    )
    assert scaled.trigger == CeleryQueue(
        connection="broker",
        queue=("mails", "bulk"),
        global_keyprefix="shop:",
        sep=":",
        priority_steps=(0, 5),
        unacked_key="unacked:mails",
        shared_unacked="queue",
        acks_late=True,
        messages_per_worker=4,
    )
    assert (scaled.activation, scaled.max_instances, scaled.function, scaled.app) == (2, 9, "send", "shop")


def test_defaults_are_those_of_the_library() -> None:
    """Names of queues have the libraries' defaults where these have one; an empty prefix of Laravel has to be given."""
    assert read_metadata({"type": "CeleryQueue"}).trigger.reads == "Celery queue celery"
    assert read_metadata({"type": "RQQueue"}).trigger == RQQueue(queue=("default",), with_scheduler=True)
    assert read_metadata({"type": "LaravelQueue", "prefix": ""}).trigger == LaravelQueue(prefix="")
    with pytest.raises(ConfigurationError, match="prefix: A LaravelQueue needs it"):
        read_metadata({"type": "LaravelQueue"})
    with pytest.raises(ConfigurationError, match="queue: A BullMQQueue needs it"):
        read_metadata({"type": "BullMQQueue"})


@pytest.mark.parametrize("type_name", [cls.type_name for cls in QUEUE_TYPES.values()])
def test_all_mistakes_are_named_at_once(type_name: str) -> None:
    """Unknown names, bad numbers and repeated queues are in one error, with the fields as they were written."""
    metadata = {**required(type_name), "queue": "a b a", "messagesPerWorker": "0", "keyz": "x", "maxInstances": "many"}
    with pytest.raises(ConfigurationError) as raised:
        read_metadata(metadata)
    text = str(raised.value)
    for part in ("invalid queue 'a b a': A name is listed twice", "messagesPerWorker", "keyz", "maxInstances 'many'"):
        assert part in text


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"type": "CeleryQueue", "listName": "mails"}, "Did you mean queue?"),
        ({"type": "CeleryQueue", "keys": "mails"}, "Did you mean queue?"),
        ({"type": "CeleryQueue", "listLength": "5"}, "Did you mean messagesPerWorker?"),
        ({"type": "CeleryQueue", "prefix": "shop"}, "A CeleryQueue has no such option"),
        ({"type": "CeleryQueue", "prioritySteps": "low,high"}, "Give whole numbers with commas between them"),
        ({"type": "CeleryQueue", "prioritySteps": "0,0"}, "Give from 1 to 20 different numbers"),
        ({"type": "CeleryQueue", "acksLate": "maybe"}, "invalid acksLate 'maybe'"),
        ({"type": "CeleryQueue", "sharedUnacked": "some"}, "invalid sharedUnacked 'some'"),
        ({"type": "CeleryQueue", "queue": " "}, "It is empty"),
        ({"type": "CeleryQueue", "queue": " ".join(map(str, range(51)))}, "It has more than 50 names"),
        ({"type": "CeleryQueue", "connection": "a", "connectionString": "b:1"}, "exclude each other"),
        ({"type": "CelerQueue"}, "Did you mean CeleryQueue?"),
        ({"type": "SortedSet", "queue": "s", "unit": "h"}, "invalid unit 'h'"),
        ({"type": "BullMQQueue", "queue": "q", "prefix": ""}, "invalid prefix ''"),
    ],
)
def test_errors_say_how_to_correct_a_mistake(metadata: dict[str, str], text: str) -> None:
    """Names of KEDA's own scaler, of other libraries, and bad values lead to the right name or value."""
    with pytest.raises(ConfigurationError) as raised:
        read_metadata(metadata)
    assert text in str(raised.value)


@pytest.mark.parametrize("type_name", REFUSED)
def test_queues_without_a_trace_of_running_jobs_are_refused(type_name: str) -> None:
    """huey and popped lists are refused with the reason, in any case of the type."""
    with pytest.raises(ConfigurationError) as raised:
        read_metadata({"type": type_name.upper(), "queue": "q"})
    assert REFUSED[type_name] in str(raised.value)


def test_metric_names_tell_triggers_apart() -> None:
    """Every field that says what is read changes the name, and no other does. Values of variables do not."""
    base = {"type": "CeleryQueue", "queue": "mails"}
    name = read_metadata(base).metric_name
    assert name.startswith("triggerfish-celery-")
    assert read_metadata({**base, "messagesPerWorker": "5", "activationMessages": "3"}).metric_name == name
    assert read_metadata({**base, "unackedKey": "unacked"}).metric_name == name
    others = [
        {"queue": "bulk"},
        {"globalKeyprefix": "a:"},
        {"sep": ":"},
        {"prioritySteps": "0"},
        {"unackedKey": "u"},
        {"sharedUnacked": "all"},
        {"acksLate": "true"},
        {"connection": "broker"},
        {"function": "send"},
    ]
    names = {read_metadata({**base, **other}).metric_name for other in others}
    assert len(names) == len(others)
    assert name not in names
    from_env = [{"type": "CeleryQueue", "queueFromEnv": value} for value in ("mails", "bulk", "celery")]
    assert len({read_metadata(each).metric_name for each in from_env}) == 1


def test_names_are_literal() -> None:
    """Braces, glob characters and percent signs in names and prefixes mean themselves."""
    trigger = read_metadata({"type": "BullMQQueue", "queue": "a*[b]?{queue}", "prefix": "{bull}*"}).trigger
    assert isinstance(trigger, QUEUE_TYPES["bullmqqueue"])
    assert trigger.keys[0] == "{bull}*:a*[b]?{queue}:delayed"
