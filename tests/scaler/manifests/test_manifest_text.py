"""Quoting: any key, channel or name is written so that every parser reads it back."""

import string
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from listeners.functions.app import App
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from scaler.manifests.rendering import AppDeployment, manifests, quoted, values
from scaler.triggers.app_triggers import declared_triggers
from scaler.triggers.metadata import metric_name, read_metadata

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
keys = st.lists(texts.filter(lambda text: text.split() == [text]), min_size=1, max_size=4, unique=True)
names = st.none() | st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=10).filter(
    lambda name: not name.startswith(".")
)
workers = st.integers(1, 10**9)
triggers = st.one_of(
    st.builds(ListTrigger, keys=keys, connection=names, messages_per_worker=workers),
    st.builds(StreamTrigger, keys=keys, connection=names, consumer_group=texts),
    st.builds(PubSubTrigger, channel=texts, connection=names, pattern=st.none() | st.booleans()),
)


def deployed(trigger: Trigger, function: str, reference: str) -> AppDeployment:
    """Return an app with one function for this trigger, and another for a list."""
    app = App(function)
    app.add(lambda text: None, trigger, function)
    app.add(lambda text: None, ListTrigger(keys=("k",)), f"{function}2")
    return AppDeployment(reference, "shop", declared_triggers(app, 20), None, None, 1, 20)


@example(PubSubTrigger(channel="*"), "yes", "- a: b # c")
@example(PubSubTrigger(channel="'\"\n\\\t\x00\x85\u2028\ufeff😀"), "1e3", "{{ x }}")
@example(ListTrigger(keys=("1e3", "0x1F", "1_000", "~", "{a}", "!b", "&c", "*d", "%e", "@f")), "null", "a\n- b")
@example(ListTrigger(keys=("2001-01-01",), connection="1e3"), "=", "<<")
@given(triggers, texts, texts)
def test_manifests_preserve_the_declaration(trigger: Trigger, function: str, reference: str) -> None:
    """Keys, channels, groups and functions of any text are read back from the YAML unchanged, with the metric name."""
    written = list(
        yaml.load_all(manifests(deployed(trigger, function, reference), "scaler:6000"), Loader=yaml.CSafeLoader)
    )
    assert [one["kind"] for one in written] == ["Deployment", "ScaledObject"]
    [container] = written[0]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["triggerfish", "run", reference, "--http-port", "8080"]
    metadata = written[1]["spec"]["triggers"][0]["metadata"]
    assert {type(value) for value in metadata.values()} == {str}
    read = read_metadata(metadata)
    assert same(read.trigger, trigger)
    assert (read.function, read.app) == (function, function)
    assert read.metric_name == metric_name(trigger, function)


def test_the_image_to_fill_in_has_no_quotes() -> None:
    """If an app's name needs quotes elsewhere, the image to fill in still has none inside it."""
    app = AppDeployment(
        "shop.py", "1e3", deployed(ListTrigger(keys=("k",)), "f", "shop.py").triggers, None, None, 0, 20
    )
    written = next(yaml.safe_load_all(manifests(app, "scaler:6000")))
    assert written["spec"]["template"]["spec"]["containers"][0]["image"] == "REGISTRY/1e3:TAG"


@example(PubSubTrigger(channel="*"), "yes", "- a: b # c")
@example(ListTrigger(keys=("1e3", "~")), "1e3", "a\n- b")
@given(triggers, texts, texts)
def test_values_preserve_the_declaration(trigger: Trigger, function: str, reference: str) -> None:
    """Values for the chart are read back unchanged, too, and their numbers and booleans are not text."""
    app = yaml.load(values(deployed(trigger, function, reference)), Loader=yaml.CSafeLoader)["apps"]["shop"]
    assert app["app"] == reference
    declared = app["triggers"][function]
    assert declared["type"] == trigger.type_name
    assert {type(declared[name]) for name in {"messagesPerWorker"} & declared.keys()} <= {int}
    assert {type(declared[name]) for name in {"pattern"} & declared.keys()} <= {bool}
    text = {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in declared.items()}
    assert same(read_metadata(text).trigger, trigger)


def same(one: object, other: object) -> bool:
    """Return whether two triggers agree in everything that determines scaling."""
    names = ("connection", "keys", "channel", "pattern", "consumer_group", "messages_per_worker", "delivery")
    return all(getattr(one, name, None) == getattr(other, name, None) for name in names)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("orders", "orders"),
        ("registry/shop-1.0", "registry/shop-1.0"),
        ("1e3", '"1e3"'),
        ("Yes", '"Yes"'),
        ("n", '"n"'),
        ("null", '"null"'),
        ("", '""'),
        ("a: b", '"a: b"'),
        ("é\n", '"é\\n"'),
        (7, "7"),
        (True, "true"),
    ],
)
def test_quotes(value: Any, text: str) -> None:
    """Text that some YAML parser would read as a number, a boolean or syntax is quoted."""
    assert quoted(value) == text
