"""Reading the triggers that a user gives: ScaledObjects in YAML, and metadata as KEY=VALUE."""

from pathlib import Path

import pytest

from listeners.errors import ConfigurationError
from scaler.triggers.scaled_objects import RequestedTrigger, SkippedTrigger, metadata_from, triggers_in

#: Nine levels of nine aliases: 400 million values.
ALIASES = "[&l0 [x], " + ", ".join(f"&l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)) + "]"


def read(tmp_path: Path, text: str, **more: str) -> list[RequestedTrigger | SkippedTrigger]:
    """Return the triggers of a file with this text."""
    file = tmp_path / "so.yaml"
    file.write_text(text)
    return list(triggers_in(file, "scaler:6000", more, "default"))


def scaled_object(metadata: str, kind: str = "external-push", more: str = "") -> str:
    """Return a ScaledObject with one trigger, and more in its spec."""
    trigger = f"{{type: {kind}, metadata: {metadata}}}"
    return f"{{kind: ScaledObject, metadata: {{name: shop}}, spec: {{triggers: [{trigger}]{more}}}}}"


def test_several_documents_and_lists(tmp_path: Path) -> None:
    """Documents of other kinds are skipped, and lists are read as `kubectl get -o yaml` prints them."""
    shop = scaled_object("{scalerAddress: 'scaler:6000', type: RedisListTrigger, keys: a}")
    text = f"kind: Deployment\n---\n{shop}\n---\n{{kind: List, items: [{shop}, {{kind: Secret}}]}}\n---\n"
    metadata = {"scalerAddress": "scaler:6000", "type": "RedisListTrigger", "keys": "a"}
    assert read(tmp_path, text) == [RequestedTrigger("default", "shop", metadata, hpa="keda-hpa-shop")] * 2


def test_a_scaled_job(tmp_path: Path) -> None:
    """The triggers of a ScaledJob are read as those of a ScaledObject. KEDA makes no HPA of it."""
    text = scaled_object("{scalerAddress: 'scaler:6000', type: RedisListTrigger, keys: a}", "external")
    metadata = {"scalerAddress": "scaler:6000", "type": "RedisListTrigger", "keys": "a"}
    found = read(tmp_path, text.replace("ScaledObject", "ScaledJob"))
    assert found == [RequestedTrigger("default", "shop", metadata, hpa=None)]


def test_values_that_keda_would_resolve(tmp_path: Path) -> None:
    """xFromEnv in a file needs a value from --metadata, which also overrides other values of the file."""
    text = scaled_object("{scalerAddress: 'scaler:6000', type: RedisListTrigger, keysFromEnv: KEYS, function: f}")
    with pytest.raises(ConfigurationError, match=r"keysFromEnv.*--metadata keysFromEnv=VALUE"):
        read(tmp_path, text)
    [trigger] = read(tmp_path, text, keysFromEnv="orders", function="g")
    assert isinstance(trigger, RequestedTrigger)
    assert (trigger.metadata["keysFromEnv"], trigger.metadata["function"]) == ("orders", "g")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Deployment", r"kind: ScaledObject"),
        ("{", r"--file.*not YAML"),
        ("", r"kind: ScaledObject"),
        ("{kind: ScaledObject, metadata: {}, spec: {}}", r"spec\.triggers"),
        ("{kind: ScaledObject, metadata: {}, spec: [1]}", r"spec \[1\]: "),
        ("{kind: ScaledObject, metadata: {}, spec: {triggers: [1]}}", r"spec\.triggers\[0\] 1: "),
        (scaled_object("[]"), r"spec\.triggers\[0\]\.metadata"),
        (
            scaled_object("{type: redisListTrigger, keys: a, messagesPerWorker: 100}"),
            r"messagesPerWorker 100: .*quotes",
        ),
        (
            scaled_object("{type: redisListTrigger, keys: a}, metricType: Value"),
            r"spec\.triggers\[0\]\.metricType 'Value': .*Remove it",
        ),
        (
            scaled_object("{type: redisListTrigger, keys: a}, metricType: Value").replace("Object", "Job"),
            r"spec\.triggers\[0\]\.metricType 'Value': .*KEDA would start no job. Remove it",
        ),
        (
            scaled_object(
                "{type: redisListTrigger, keys: a}", more=", advanced: {scalingModifiers: {metricType: Value}}"
            ),
            r"spec\.advanced\.scalingModifiers\.metricType 'Value': .*Remove it",
        ),
        (
            scaled_object("{type: redisListTrigger, keys: a}, metricType: 0x" + "f" * 5_000),
            r"--file.*a number has more than",
        ),
        (scaled_object(f"{{type: redisListTrigger, keys: {ALIASES}}}"), r"more than 200,000 values"),
    ],
)
def test_unusable_files(tmp_path: Path, text: str, message: str) -> None:
    """A file that Kubernetes or KEDA would reject is a ConfigurationError that names the problem."""
    with pytest.raises(ConfigurationError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize("empty", ["", "''", "null", "AverageValue"])
def test_the_default_metric_type(tmp_path: Path, empty: str) -> None:
    """KEDA takes an empty metricType for its default, which is accepted in both places."""
    text = scaled_object(
        f"{{scalerAddress: 'scaler:6000', type: RedisListTrigger, keys: a}}, metricType: {empty}",
        more=f", advanced: {{scalingModifiers: {{metricType: {empty}}}}}",
    )
    [trigger] = read(tmp_path, text)
    assert isinstance(trigger, RequestedTrigger)


def test_metadata_from_pairs() -> None:
    """A value may contain equals signs, and may be empty."""
    assert metadata_from(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
