"""`triggerfish manifest`: its output for apps of each shape, and the inputs that it rejects."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from listeners.errors import ConfigurationError
from listeners.functions.loading import load_app
from scaler.triggers.metadata import metric_name, read_metadata
from tests.support.schemas import check_object, check_objects
from triggerfish.cli.manifest import manifest

EXPECTED = Path(__file__).parent / "expected"
LIST = '@app.list_trigger(keys="orders", connection="cache", messages_per_worker=50)\ndef handle(order: str): ...\n'
STREAM = '@app.stream_trigger(keys="payments refunds", connection="Cache")\ndef settle(payment: dict): ...\n'
DEFAULT = '@app.list_trigger(keys="a b", delivery="at-most-once")\ndef pack(order: str): ...\n'
PUBSUB = '@app.pubsub_trigger(channel="prices.*", connection="cache")\ndef reprice(price: str): ...\n'
BROADCAST = '@app.pubsub_trigger(channel="flush", singleton=False, pattern=True)\ndef flush(message: str): ...\n'
SHAPES = {
    "queues": LIST + STREAM + DEFAULT,
    "mixed": LIST + PUBSUB,
    "mixed with a broadcast": STREAM + PUBSUB + BROADCAST,
    "pub/sub only": PUBSUB,
    "broadcast only": BROADCAST,
    "pub/sub with a broadcast": PUBSUB + BROADCAST,
}
Write = Callable[..., str]
Objects = list[dict[str, Any]]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Write:
    """A function that writes an app with these functions to shop.py, and returns `triggerfish manifest shop.py`."""
    monkeypatch.chdir(tmp_path)

    def write(functions: str, *, app: str = "shop", **options: Any) -> str:
        Path("shop.py").write_text(f"from triggerfish import App\napp = App({app!r})\n{functions}")
        for name in ("shop", str(tmp_path / "shop.py")):
            sys.modules.pop(name, None)
        manifest("shop.py", **options)
        return capsysbinary.readouterr().out.decode()

    return write


def objects(text: str) -> Objects:
    """Parse the objects in YAML."""
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("helm_values", [False, True])
def test_the_whole_text(write: Write, helm_values: bool) -> None:
    """The text for an app is always the same, including comments."""
    options = {} if helm_values else {"namespace": "till", "scaler_address": "scaler.keda.svc:6000"}
    image = "registry.example:5000/shop:1.0"
    text = write(LIST + STREAM + DEFAULT + PUBSUB, image=image, max_instances=20, helm_values=helm_values, **options)
    assert text == (EXPECTED / ("values.yaml" if helm_values else "manifest.yaml")).read_text()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"image": "shop:1", "namespace": "till"}])
def test_kubernetes_and_keda_accept_it(write: Write, shape: str, options: dict[str, str]) -> None:
    """Every object is valid under the schemas of Kubernetes and KEDA, without unknown fields."""
    written = objects(write(SHAPES[shape], **options))
    check_objects(written)
    assert {one["metadata"].get("namespace") for one in written} == {options.get("namespace")}


def test_the_schemas_reject() -> None:
    """The schemas that the test above relies on reject an unknown field and a wrong type."""
    deployment, scaled = objects((EXPECTED / "manifest.yaml").read_text())
    check_objects([deployment, scaled])
    for one in (deployment, scaled):
        unknown = copy.deepcopy(one)
        unknown["spec"]["replica"] = 1
        with pytest.raises(ValueError, match="replica"):
            check_object(unknown)
    scaled["spec"]["triggers"][0]["metadata"]["messagesPerWorker"] = 50
    with pytest.raises(ValueError, match="messagesPerWorker"):
        check_object(scaled)


def test_only_pubsub_is_one_instance(write: Write) -> None:
    """An app with only pub/sub triggers has one replica, which is replaced without a gap, and no ScaledObject."""
    for shape in ("pub/sub only", "broadcast only", "pub/sub with a broadcast"):
        [deployment] = objects(write(SHAPES[shape]))
        assert deployment["spec"]["replicas"] == 1
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        values = yaml.safe_load(write(SHAPES[shape], helm_values=True))
        assert values["apps"]["shop"]["scaling"] == {"minReplicas": 1, "maxReplicas": 1}
    assert "Set any number of replicas" in write(BROADCAST)


@pytest.mark.parametrize(("shape", "minimum"), [("queues", 0), ("mixed", 1), ("mixed with a broadcast", 1)])
def test_where_keda_scales(write: Write, shape: str, minimum: int) -> None:
    """The Deployment of an app with a backlog sets no replicas. With a pub/sub trigger, at least one instance runs."""
    deployment, scaled = objects(write(SHAPES[shape]))
    assert "replicas" not in deployment["spec"]
    assert (scaled["spec"]["minReplicaCount"], scaled["spec"]["maxReplicaCount"]) == (minimum, 100)
    scaling = yaml.safe_load(write(SHAPES[shape], helm_values=True))["apps"]["shop"]["scaling"]
    assert scaling == {"minReplicas": minimum, "maxReplicas": 100}


@pytest.mark.parametrize("helm_values", [False, True])
def test_bounds(write: Write, helm_values: bool) -> None:
    """--min-instances and --max-instances are the bounds. The scaler may also stop counting at --max-instances."""
    text = write(SHAPES["mixed"], min_instances=2, max_instances=7, helm_values=helm_values)
    if helm_values:
        assert yaml.safe_load(text)["apps"]["shop"]["scaling"] == {"minReplicas": 2, "maxReplicas": 7}
        return
    spec = objects(text)[1]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, 7)
    assert [trigger["metadata"].get("maxInstances") for trigger in spec["triggers"]] == ["7", None]


@pytest.mark.parametrize("shape", ["queues", "mixed", "mixed with a broadcast"])
def test_the_scaler_reads_the_triggers_back(write: Write, shape: str) -> None:
    """Each trigger of the app has one in the ScaledObject, which the scaler reads with the same metric name."""
    triggers = objects(write(SHAPES[shape]))[1]["spec"]["triggers"]
    read = [read_metadata(trigger["metadata"]) for trigger in triggers]
    functions = load_app("shop.py").functions.values()
    assert [scaled.metric_name for scaled in read] == [metric_name(one.trigger, one.name) for one in functions]
    for scaled, function in zip(read, functions, strict=True):
        same = ("connection", "keys", "channel", "pattern", "consumer_group", "messages_per_worker", "delivery")
        for name in same:
            assert getattr(scaled.trigger, name, None) == getattr(function.trigger, name, None), name
        assert (scaled.function, scaled.app) == (function.name, "shop")


def test_an_image_in_parts(write: Write) -> None:
    """An image is split into repository, tag and digest; a registry's port stays in the repository."""
    for image, parts in {
        "shop": {"repository": "shop"},
        "shop:1.0": {"repository": "shop", "tag": "1.0"},
        "localhost:5000/shop": {"repository": "localhost:5000/shop"},
        "a.b:5000/c/shop:1@sha256:0f": {"repository": "a.b:5000/c/shop", "tag": "1", "digest": "sha256:0f"},
    }.items():
        assert yaml.safe_load(write(LIST, image=image, helm_values=True))["apps"]["shop"]["image"] == parts


def test_another_name(write: Write) -> None:
    """--name names the objects. The app keeps its own name, which its leases and metrics use."""
    deployment, scaled = objects(write(LIST, app="My_Shop", name="till"))
    assert (deployment["metadata"]["name"], scaled["metadata"]["name"]) == ("till", "till")
    assert scaled["spec"]["scaleTargetRef"] == {"name": "till"}
    assert scaled["spec"]["triggers"][0]["metadata"]["app"] == "My_Shop"
    values = yaml.safe_load(write(LIST, app="My_Shop", name="till", helm_values=True))
    assert values["apps"]["till"]["name"] == "My_Shop"


def test_output_of_the_app(write: Write) -> None:
    """Text that an app's module prints when it is imported does not get into the YAML."""
    assert write(f"print('hello: [')\n{LIST}") == write(LIST)


@pytest.mark.parametrize(
    ("functions", "options", "words"),
    [
        (
            '@app.list_trigger(keys="a", connection_string="h:6379,password=hunter2")\ndef f(x: str): ...',
            {},
            r"f\.connection_string: .*Name a connection",
        ),
        ('@app.list_trigger(keys="a", connection="a/b")\ndef f(x: str): ...', {}, r"f\.connection 'a/b'.*Secret"),
        ('@app.list_trigger(keys="a", connection=".a")\ndef f(x: str): ...', {}, r"f\.connection '\.a'.*Secret"),
        ('@app.list_trigger(keys=["a b"])\ndef f(x: str): ...', {}, r"f\.keys 'a b'.*would be split"),
        ('@app.list_trigger(keys=["a\\xa0b"])\ndef f(x: str): ...', {}, r"f\.keys .*would be split"),
        ('@app.list_trigger(keys=["\\udcff"])\ndef f(x: str): ...', {}, r"f\.keys .*Unicode"),
        ('@app.pubsub_trigger(channel="\\ud800")\ndef f(x: str): ...', {}, r"f\.channel .*Unicode"),
        ('@app.list_trigger(keys="a" * 20000)\ndef f(x: str): ...', {}, r"f\.keys: .*20000 characters"),
        ('@app.list_trigger(keys="a" * 20000)\ndef f(x: str): ...', {"helm_values": True}, r"f\.keys: .*20000"),
        ("", {}, r"no functions"),
        (LIST, {"app": "My_Shop"}, r"app 'My_Shop'.*Give --name my-shop"),
        (LIST, {"app": "_"}, r"app '_'.*Give --name NAME"),
        (LIST, {"name": "a.b"}, r"--name 'a\.b'.*a-z"),
        (LIST, {"name": "a" * 64}, r"--name .*at most 63"),
        (LIST, {"namespace": "Till"}, r"--namespace 'Till'"),
        (LIST, {"image": "a b"}, r"--image 'a b'"),
        (LIST, {"scaler_address": "http://a:1"}, r"--scaler-address 'http://a:1'.*host:port"),
        (LIST, {"min_instances": 3, "max_instances": 2}, r"--min-instances 3: .*above --max-instances, which is 2"),
        (LIST, {"min_instances": 101}, r"--min-instances 101: .*above --max-instances, which is 100"),
        (LIST + PUBSUB, {"min_instances": 0}, r"--min-instances 0: .*reprice has a pub/sub trigger.*1 or more"),
        (PUBSUB, {"min_instances": 0}, r"--min-instances 0: .*one instance"),
        (PUBSUB, {"max_instances": 2}, r"--max-instances 2: .*one instance"),
        (LIST, {"helm_values": True, "namespace": "till"}, r"--namespace 'till'.*helm"),
        (LIST, {"helm_values": True, "scaler_address": "a:1"}, r"--scaler-address 'a:1'.*chart"),
    ],
)
def test_rejected_inputs(write: Write, functions: str, options: dict[str, Any], words: str) -> None:
    """Input that Kubernetes, KEDA or the scaler would reject is an error with the name, the value and the fix."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        write(functions, **options)
    assert "hunter2" not in str(caught.value)
