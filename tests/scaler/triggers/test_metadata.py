"""Reading triggers from a ScaledObject's metadata, and the names of their metrics."""

import itertools
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from listeners.errors import ConfigurationError
from listeners.functions.triggers import DEFAULT_CONSUMER_GROUP, ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from scaler.triggers.metadata import KEDA_KEYS, invalid_metric_name, metric_name, read_metadata

LIST = {"type": "redisListTrigger", "keys": "orders"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments", "consumerGroup": "billing"}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}


def test_every_parameter_of_a_list() -> None:
    """Each parameter of a list trigger is read from text."""
    scaled = read_metadata(
        {
            "type": "RedisListTrigger",
            "connection": "cache",
            "keys": "a b",
            "pollingIntervalMs": "250",
            "messagesPerWorker": "7",
            "batchSize": "3",
            "maxDeliveries": "2",
            "callTimeoutSeconds": "7.5",
            "listPopFromBeginning": "false",
            "delivery": "at-most-once",
            "function": "handle",
            "app": "shop",
            "activationMessages": "5",
            "maxInstances": "9",
        }
    )
    assert scaled.trigger == ListTrigger(
        connection="cache",
        keys=("a", "b"),
        polling_interval_ms=250,
        messages_per_worker=7,
        batch_size=3,
        max_deliveries=2,
        call_timeout_seconds=7.5,
        list_pop_from_beginning=False,
        delivery="at-most-once",
    )
    assert (scaled.function, scaled.app, scaled.activation, scaled.max_instances) == ("handle", "shop", 5, 9)


def test_omitted_parameters_have_their_defaults() -> None:
    """A stream trigger needs only a type and keys; other parameters have the documented defaults."""
    scaled = read_metadata({"type": "RedisStreamTrigger", "keys": "s"})
    assert isinstance(scaled.trigger, StreamTrigger)
    assert scaled.trigger.consumer_group == DEFAULT_CONSUMER_GROUP
    assert (scaled.trigger.messages_per_worker, scaled.activation, scaled.max_instances) == (100, 0, None)
    assert (scaled.function, scaled.app) == ("", "")


def test_a_pubsub_trigger_is_not_measured() -> None:
    """A pub/sub trigger is read from its channel, and has nothing to measure."""
    scaled = read_metadata(PUBSUB)
    assert scaled.trigger == PubSubTrigger(channel="prices.*")
    assert scaled.measured is None


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ("RedisListTrigger", "list"),
        ("RedisListsTrigger", "list"),
        ("redisListTrigger", "list"),
        ("REDISLISTSTRIGGER", "list"),
        ("RedisStreamTrigger", "stream"),
        ("RedisStreamsTrigger", "stream"),
        ("redisStreamTrigger", "stream"),
        ("RedisPubSubTrigger", "pubsub"),
        ("redisPubSubTrigger", "pubsub"),
    ],
)
def test_type_spellings(spelling: str, kind: str) -> None:
    """Every spelling of a type that Azure bindings and KEDA users have is accepted, in any case."""
    reads = {"channel": "c"} if kind == "pubsub" else {"keys": "k"}
    assert read_metadata({"type": spelling, **reads}).trigger.kind == kind


@pytest.mark.parametrize(
    "spelling", ["messagesPerWorker", "MessagesPerWorker", "messages_per_worker", "messagesperworker"]
)
def test_parameter_spellings(spelling: str) -> None:
    """A parameter may be written in camelCase, PascalCase or snake_case."""
    trigger = read_metadata({**LIST, spelling: "7"}).trigger
    assert isinstance(trigger, ListTrigger)
    assert trigger.messages_per_worker == 7


@pytest.mark.parametrize("spelling", ["pollingIntervalMs", "PollingIntervalInMs", "polling_interval_ms"])
def test_the_polling_interval_has_the_azure_name_too(spelling: str) -> None:
    """The polling interval may also have its name in the Azure bindings."""
    trigger = read_metadata({**LIST, spelling: "50"}).trigger
    assert isinstance(trigger, ListTrigger)
    assert trigger.polling_interval_ms == 50


def test_from_env_is_read_as_the_key_itself() -> None:
    """`keysFromEnv` is `keys` with the value that KEDA resolved. The suffix works for every key."""
    scaled = read_metadata({"typeFromEnv": "RedisListTrigger", "keysFromEnv": "a b", "functionFromEnv": "f"})
    assert scaled.trigger == ListTrigger(keys=("a", "b"))
    assert scaled.function == "f"


@pytest.mark.parametrize("other", ["keysFromEnv", "Keys", "KEYS"])
def test_a_key_that_is_given_twice_is_rejected(other: str) -> None:
    """Two spellings of one key are an error, as metadata has no order by which one could take precedence."""
    for metadata in ({**LIST, other: "b"}, {other: "b", **LIST}):
        with pytest.raises(ConfigurationError, match=r"(?i)keys.*twice"):
            read_metadata(metadata)


def test_the_keys_of_keda_are_ignored() -> None:
    """KEDA's own keys of an external scaler are ignored, in any case and with FromEnv."""
    keda = {
        "scalerAddress": "triggerfish-scaler:6000",
        "enableTLS": "true",
        "unsafeSsl": "false",
        "caCert": "/ca.pem",
        "tlsClientCert": "/client.pem",
        "tlsClientKey": "/client.key",
        "tlsCertFile": "/cert.pem",
    }
    assert {key.lower() for key in keda} == KEDA_KEYS
    assert read_metadata({**LIST, **keda}) == read_metadata(LIST)
    assert read_metadata({**LIST, **{key.upper(): value for key, value in keda.items()}}) == read_metadata(LIST)
    assert read_metadata({**LIST, "caCertFromEnv": "-----BEGIN"}) == read_metadata(LIST)


def test_an_operator_may_configure_more_ignored_keys() -> None:
    """A key in the configured list is ignored in any case, and rejected without the list."""
    assert read_metadata({**LIST, "Policy": "x"}, ["policy"]) == read_metadata(LIST)
    with pytest.raises(ConfigurationError):
        read_metadata({**LIST, "Policy": "x"})


def test_an_unknown_key_is_rejected_by_name() -> None:
    """An unknown key is rejected with its name and the known names, but without its value."""
    with pytest.raises(ConfigurationError) as caught:
        read_metadata({**LIST, "pasword": "hunter2"})
    assert caught.value.field == "pasword"
    assert "batchSize" in str(caught.value)
    assert "batch_size" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "meant"),
    [
        ({"messagesPerWorkr": "5"}, "messagesPerWorker"),
        ({"maxInstanes": "5"}, "maxInstances"),
        ({"messages_per_workers": "5"}, "messagesPerWorker"),
        ({"type": "RedisListTriger"}, "RedisListTrigger"),
        ({"delivery": "atleastonce"}, "at-least-once"),
    ],
)
def test_a_misspelt_name_has_a_suggestion(change: dict[str, str], meant: str) -> None:
    """The error for a misspelt key, type or value suggests the closest one."""
    with pytest.raises(ConfigurationError, match=rf"Did you mean {meant}\?"):
        read_metadata({**LIST, **change})


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"type": None}, "type", None),
        ({"type": "RedisHashTrigger"}, "type", "RedisHashTrigger"),
        ({"type": ""}, "type", ""),
        ({"keys": None}, "keys", None),
        ({"keys": ""}, "keys", ""),
        ({"keys": "   "}, "keys", "   "),
        ({"keys": "a a"}, "keys", "a a"),
        ({"connection": " "}, "connection", " "),
        ({"messagesPerWorker": "0"}, "messagesPerWorker", "0"),
        ({"messagesPerWorker": "-1"}, "messagesPerWorker", "-1"),
        ({"messagesPerWorker": "many"}, "messagesPerWorker", "many"),
        ({"messagesPerWorker": "1.5"}, "messagesPerWorker", "1.5"),
        ({"messagesPerWorker": ""}, "messagesPerWorker", ""),
        ({"messagesPerWorker": "1" + "0" * 400}, "messagesPerWorker", "1" + "0" * 400),
        ({"messagesPerWorker": "1000000001"}, "messagesPerWorker", "1000000001"),
        ({"maxDeliveries": "1000001"}, "maxDeliveries", "1000001"),
        ({"batchSize": "0"}, "batchSize", "0"),
        ({"callTimeoutSeconds": "0"}, "callTimeoutSeconds", "0"),
        ({"pollingIntervalMs": "0"}, "pollingIntervalMs", "0"),
        ({"activationMessages": "-1"}, "activationMessages", "-1"),
        ({"activationMessages": "1.0"}, "activationMessages", "1.0"),
        ({"activationMessages": "9" * 5000}, "activationMessages", "9" * 5000),
        ({"maxInstances": "0"}, "maxInstances", "0"),
        ({"maxInstances": "ten"}, "maxInstances", "ten"),
        ({"maxInstances": str(2**31 + 1)}, "maxInstances", str(2**31 + 1)),
        ({"listPopFromBeginning": "perhaps"}, "listPopFromBeginning", "perhaps"),
        ({"delivery": "exactly-once"}, "delivery", "exactly-once"),
    ],
)
def test_bad_values(change: dict[str, str | None], field: str, value: str | None) -> None:
    """An invalid value is an error with the field, the value and the fix."""
    metadata = {key: text for key, text in {**LIST, **change}.items() if text is not None}
    with pytest.raises(ConfigurationError) as caught:
        read_metadata(metadata)
    assert (caught.value.field, caught.value.value) == (field, value)
    assert caught.value.fix
    assert len(str(caught.value)) < 1000


def test_frozen_names() -> None:
    """The metric names of deployed triggers never change, as KEDA stores them in the HPA."""
    assert read_metadata({**LIST, "function": "handle"}).metric_name == "triggerfish-list-20a8fbe26c0dc7cb"
    two_keys = {"type": "RedisListTrigger", "keys": "a b", "connection": "cache"}
    assert read_metadata(two_keys).metric_name == "triggerfish-list-9226c4b8e9d3c992"
    assert read_metadata({**STREAM, "function": "settle"}).metric_name == "triggerfish-stream-3204c22ae18d9bf1"
    assert read_metadata({**PUBSUB, "function": "reprice"}).metric_name == "triggerfish-pubsub-14ba5bba3be0dafc"


def test_names_differ_by_what_triggers_read() -> None:
    """Triggers that differ in kind, keys, group, channel, connection or function have different metric names."""
    variants = [
        LIST,
        {**LIST, "keys": "orders2"},
        {**LIST, "keys": "orders orders2"},
        {**LIST, "keys": "orders2 orders"},
        {**LIST, "function": "handle"},
        {**LIST, "connection": "cache"},
        {**LIST, "type": "redisStreamTrigger"},
        {**STREAM, "keys": "orders"},
        {**STREAM, "keys": "orders", "consumerGroup": "audit"},
        PUBSUB,
        {**PUBSUB, "channel": "orders"},
    ]
    names = [read_metadata(variant).metric_name for variant in variants]
    for (one, first), (other, second) in itertools.combinations(zip(variants, names, strict=True), 2):
        assert first != second, (one, other)


@pytest.mark.parametrize(
    "more",
    [
        {"messagesPerWorker": "7"},
        {"activationMessages": "7"},
        {"maxInstances": "7"},
        {"batchSize": "7"},
        {"concurrency": "7"},
        {"batchWindowMs": "7"},
        {"callTimeoutSeconds": "7"},
        {"app": "shop"},
        {"scalerAddress": "elsewhere:6000"},
        {"tlsCertFile": "/cert.pem"},
    ],
)
def test_names_do_not_depend_on_scaling_parameters(more: dict[str, str]) -> None:
    """A trigger keeps its metric's name when it is tuned."""
    assert read_metadata({**LIST, **more}).metric_name == read_metadata(LIST).metric_name


texts = st.text(min_size=1, max_size=30).filter(str.strip)
keys = st.lists(texts.filter(lambda key: not key.isspace()), min_size=1, max_size=5, unique=True)
triggers = st.one_of(
    st.builds(ListTrigger, keys=keys, connection=st.none() | st.from_regex(r"[\w.-]{1,30}", fullmatch=True)),
    st.builds(StreamTrigger, keys=keys, consumer_group=texts),
    st.builds(PubSubTrigger, channel=texts),
)


@given(triggers, st.text(max_size=30))
def test_names_are_plain(trigger: Trigger, function: str) -> None:
    """A metric name has only lower-case letters, digits and hyphens, for any trigger."""
    name = metric_name(trigger, function)
    assert re.fullmatch(r"triggerfish-(list|stream|pubsub)-[0-9a-f]{16}", name)
    assert name == metric_name(trigger, function)


spellings = st.sampled_from(
    ["type", "keys", "channel", "connection", "connectionString", "messagesPerWorker", "batch_size", "maxInstances",
     "activationMessages", "function", "app", "pattern", "singleton", "delivery", "keysFromEnv", "consumerGroup"]
)  # fmt: skip
values = st.text(max_size=50) | st.from_regex(r"\A-?[0-9]{1,30}\Z") | st.sampled_from(["RedisListTrigger", "true"])


@example({"type": "RedisListTrigger", "keys": "k", "maxInstances": "9" * 5000})
@example({"type": "RedisListTrigger", "keys": "k", "messagesPerWorker": "9" * 5000})
@example({"FromEnv": "", "": "", "type": "RedisPubSubTrigger", "channel": "c"})
@given(st.dictionaries(spellings | st.text(max_size=20), values, max_size=8))
def test_any_text_is_read_or_rejected(metadata: dict[str, Any]) -> None:
    """Metadata with any text becomes a trigger or a ConfigurationError, and nothing else."""
    try:
        scaled = read_metadata(metadata)
    except ConfigurationError as error:
        assert str(error)
    else:
        assert scaled.metric_name.startswith("triggerfish-")


def test_too_many_keys() -> None:
    """Metadata with more keys than there are options is refused as a whole, without an error for each."""
    many = {**LIST, **{f"key-{number}": "x" for number in range(100)}}
    with pytest.raises(ConfigurationError, match=r"^metadata: It has more than 100 options\.") as caught:
        read_metadata(many)
    assert caught.value.others == ()
    assert invalid_metric_name(many) == invalid_metric_name({**many, "key-1": "y"}) != invalid_metric_name(LIST)


def test_a_value_from_the_environment_does_not_affect_the_name() -> None:
    """A metric's name stays the same when the environment variable behind a key changes."""
    first, second = (read_metadata({"type": "RedisListTrigger", "keysFromEnv": keys}) for keys in ("a", "b"))
    assert first.trigger != second.trigger
    assert first.metric_name == second.metric_name
    other = read_metadata({"type": "RedisListTrigger", "keysFromEnv": "a", "function": "other"})
    assert other.metric_name != first.metric_name
