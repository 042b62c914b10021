"""`triggerfish manifest --check`: which differences are drift, and which belong to the file's owner."""

import re
import sys
from pathlib import Path

import pytest
import typer

from listeners.errors import ConfigurationError
from triggerfish.cli.manifest import manifest

APP = """
from triggerfish import App
app = App("shop")

@app.list_trigger(keys="orders", connection="cache", messages_per_worker=50)
def handle(order: str): ...

@app.stream_trigger(keys="payments")
def settle(payment: dict): ...

@app.pubsub_trigger(channel="prices.*")
def reprice(price: str): ...
"""
PUBSUB = APP.partition("@app.list")[0] + "@app.pubsub" + APP.partition("@app.pubsub")[2]
KINDS = {"manifests": False, "values": True}


class Shop:
    """The app in shop.py, and its file."""

    file = Path("shop.yaml")

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture

    def declare(self, source: str) -> None:
        """Write the app's source."""
        for name in ("shop", str(Path.cwd() / "shop.py")):
            sys.modules.pop(name, None)
        Path("shop.py").write_text(source)

    def write(self, *, helm_values: bool = False) -> None:
        """Write the file for the current app."""
        manifest("shop.py", helm_values=helm_values)
        self.file.write_bytes(self._capture.readouterr().out)

    def change(self, pattern: str, replacement: str) -> None:
        """Edit the file, as its owner does."""
        text, changes = re.subn(pattern, replacement, self.file.read_text())
        assert changes, pattern
        self.file.write_text(text)

    def check(self, name: str | None = None) -> tuple[list[str], str]:
        """Check the file. Returns the changed lines of the diff, and standard error. Both are empty without drift."""
        try:
            manifest("shop.py", name=name, check=self.file)
        except typer.Exit as end:
            assert end.exit_code == 1
        captured = self._capture.readouterr()
        lines = captured.out.decode().splitlines()
        assert bool(lines) == bool(captured.err)
        return [line for line in lines[2:] if line[0] in "+-"], captured.err.decode()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]) -> Shop:
    """The app, in a temporary folder."""
    monkeypatch.chdir(tmp_path)
    # Python would take a compiled file as current if its source has the same size and was written in the same second.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    shop = Shop(capsysbinary)
    shop.declare(APP)
    return shop


each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_no_drift(shop: Shop, kind: str) -> None:
    """An unchanged file has no drift, and nothing is printed."""
    shop.write(helm_values=KINDS[kind])
    assert shop.check() == ([], "")


@each_kind
@pytest.mark.parametrize(
    ("old", "new", "diff"),
    [
        ('keys="orders"', 'keys="orders returns"', ["-  keys: orders", '+  keys: "orders returns"']),
        ("worker=50", "worker=60", ["-  messagesPerWorker: 50", "+  messagesPerWorker: 60"]),
        ("worker=50", "worker=50, delivery='at-most-once'", ["+  delivery: at-most-once"]),
        ('keys="payments"', 'keys="payments", consumer_group="b"', ["-  consumerGroup: A.*", "+  consumerGroup: b"]),
        ('"prices.*"', '"prices"', ['-  channel: "prices.*"', "+  channel: prices"]),
        ('"prices.*"', '"prices.*", pattern=False', ["+  pattern: false"]),
        ("stream_trigger", "list_trigger", ["-  type: RedisStream.*", "-  consumerGroup: A.*", "+  type: RedisList.*"]),
        ("def settle", "def pay", ["-settle:", "+pay:"]),
    ],
)
def test_drift(shop: Shop, kind: str, old: str, new: str, diff: list[str]) -> None:
    """What the app declares differently is shown as a diff, with the command that writes the file again."""
    shop.write(helm_values=KINDS[kind])
    assert old in APP
    shop.declare(APP.replace(old, new))
    lines, errors = shop.check()
    for line in diff:
        assert any(re.fullmatch(re.escape(line).replace(r"\.\*", ".*"), one) for one in lines), (line, lines)
    if not new.startswith("def"):
        assert len(lines) == len(diff)
    command = "triggerfish manifest shop.py " + ("--helm-values " if KINDS[kind] else "")
    assert f"{command}... > shop.yaml" in errors
    shop.write(helm_values=KINDS[kind])
    assert shop.check() == ([], "")


@each_kind
def test_added_and_removed_functions(shop: Shop, kind: str) -> None:
    """A function that is missing in the file is drift, and so is one that the app no longer has."""
    shop.write(helm_values=KINDS[kind])
    shop.declare(APP.partition("@app.stream")[0])
    assert "-settle:" in shop.check()[0]
    shop.write(helm_values=KINDS[kind])
    shop.declare(APP)
    assert "+settle:" in shop.check()[0]


def test_connections(shop: Shop) -> None:
    """In values, a missing connection is drift, but an additional one is not."""
    shop.write(helm_values=True)
    shop.change("\n  cache:\n", "\n  queue:\n")
    assert shop.check()[0] == ["+  cache:"]
    shop.change("\n  queue:\n", "\n  queue: {secretName: q}\n  CACHE:\n")
    assert shop.check()[0] == []


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("image: .*", "image: registry.example/shop:2"),
        ("spec:\n  # No", "spec:\n  replicas: 3\n  # No"),
        ("\n  labels:", "\n  annotations: {a: b}\n  labels:\n    team: till"),
        ("maxReplicaCount: 100", "maxReplicaCount: 30\n  pollingInterval: 5"),
        ('maxInstances: "100"', 'maxInstances: "30"\n        activationMessages: "5"'),
        ("triggerfish-scaler.triggerfish", "elsewhere"),
        ("stabilizationWindowSeconds: 300", "stabilizationWindowSeconds: 60"),
        ("  triggers:", '  triggers:\n    - {type: cpu, metadata: {value: "50"}}'),
        ("  triggers:", "  triggers:\n    - {type: external, metadata: {a: b}}"),
        ("type: RedisListTrigger", "type: redislistsTrigger"),
        ("messagesPerWorker:", "MessagesPerWorker:"),
        ("        app: shop\n", '        callTimeoutSeconds: "5"\n'),
        ("        consumerGroup: AzureFunctionRedisExtension\n", ""),
        ("#.*", "#"),
    ],
)
def test_owners_changes_in_manifests(shop: Shop, pattern: str, replacement: str) -> None:
    """Changes to manifests that do not concern the declaration are not drift."""
    shop.write()
    shop.change(pattern, replacement)
    assert shop.check() == ([], "")


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ('tag: ""', "tag: '2'"),
        ("maxReplicas: 100", "maxReplicas: 7\n    resources: {}"),
        ("^apps:", "scaler: {replicas: 1}\napps:\n  other: {}"),
        ("keys: payments", "keys: [payments]\n        consumerGroup: AzureFunctionRedisExtension"),
        ("messagesPerWorker: 50", "MessagesPerWorker: '50'\n        activationMessages: 5"),
    ],
)
def test_owners_changes_in_values(shop: Shop, pattern: str, replacement: str) -> None:
    """Changes to values that do not concern the declaration are not drift."""
    shop.write(helm_values=True)
    shop.change(f"(?m){pattern}", replacement)
    assert shop.check() == ([], "")


def test_order_is_no_drift(shop: Shop) -> None:
    """Functions may be in any order."""
    shop.write()
    head, *functions = re.split(r"(?m)^(?=@)", APP)
    shop.declare(head + "\n".join(reversed(functions)))
    assert shop.check() == ([], "")


def test_a_list_of_objects(shop: Shop) -> None:
    """The objects may be in a List, as kubectl prints it, together with others."""
    shop.write()
    items = ["\n".join(f"    {line}" for line in one.splitlines()) for one in shop.file.read_text().split("---\n")]
    shop.file.write_text("kind: List\nitems:\n  - {kind: Secret}\n  -\n" + "\n  -\n".join(items) + "\n")
    assert shop.check() == ([], "")


def test_only_pubsub(shop: Shop) -> None:
    """Manifests with only pub/sub triggers have no ScaledObject, which is drift if another trigger is added."""
    shop.declare(PUBSUB)
    shop.write()
    assert shop.check() == ([], "")
    shop.declare(APP)
    assert {"+handle:", "+settle:", "+reprice:"} <= set(shop.check()[0])
    shop.write()
    shop.declare(PUBSUB)
    assert {"-handle:", "-settle:", "-reprice:"} <= set(shop.check()[0])


def test_an_environment_variable(shop: Shop) -> None:
    """A value that KEDA takes from an environment variable is drift, regardless of the variable's value."""
    shop.write()
    shop.change("keys: payments", "keysFromEnv: PAYMENTS")
    assert shop.check()[0] == ["-  keysFromEnv: PAYMENTS", "+  keys: payments"]


@each_kind
def test_a_connection_string(shop: Shop, kind: str) -> None:
    """A connection string in the file is drift, since it may name another Redis. The diff does not show it."""
    shop.write(helm_values=KINDS[kind])
    shop.change("keys: payments", 'keys: payments\n        connectionString: "h:6379,password=hunter2"')
    assert shop.check()[0] == ['-  connectionString: "***"']


def test_the_terminal_is_safe(shop: Shop) -> None:
    """Control characters in the file do not reach the terminal."""
    shop.write()
    shop.change("keys: payments", r'keys: "\\e[2J\\u202e"')
    lines, _ = shop.check()
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("helm_values", "pattern", "replacement", "words"),
    [
        (False, "name: shop", "name: till", r"invalid --check 'shop\.yaml'.*named shop \(found: till\)\. Give --name"),
        (True, "\n  shop:\n", "\n  till:\n", r"invalid --check 'shop\.yaml'.*named shop \(found: till\)\. Give --name"),
        (False, r"(?s).*", "", r"invalid --check 'shop\.yaml'.*found: none"),
        (False, "metadata:", "{", r"invalid --check .*not YAML"),
        (False, "-push", "-push\n      metricType: Value", r"spec\.triggers\[0\]\.metricType 'Value': .*Remove"),
        (False, "keys: orders", "kyes: orders", r"spec\.triggers\[0\]\.metadata\.kyes"),
        (False, '"50"', "50", r"spec\.triggers\[0\]\.metadata\.messagesPerWorker 50: .*in quotes"),
        (False, '"50"', '"many"', r"spec\.triggers\[0\]\.metadata\.messagesPerWorker 'many': "),
        (True, "50", "many", r"apps\.shop\.triggers\.handle\.messagesPerWorker 'many': "),
        (True, r"(?s)triggers:.*?scaling", "triggers: []\n    scaling", r"apps\.shop\.triggers: .*for each function"),
    ],
)
def test_unusable_files(shop: Shop, helm_values: bool, pattern: str, replacement: str, words: str) -> None:
    """A file without the app, or that KEDA or the scaler would reject, is an error with the place and the reason."""
    shop.write(helm_values=helm_values)
    shop.change(pattern, replacement)
    with pytest.raises(ConfigurationError, match=words):
        shop.check()


def test_a_missing_file(shop: Shop) -> None:
    """A missing file is an error, not drift."""
    with pytest.raises(ConfigurationError, match=r"invalid --check 'shop\.yaml': .*cannot be read"):
        shop.check()


@each_kind
def test_another_name(shop: Shop, kind: str) -> None:
    """--name selects the objects or values."""
    shop.write(helm_values=KINDS[kind])
    shop.change(r"name: shop|\n  shop:\n", "\n  till:\n" if KINDS[kind] else "name: till")
    assert shop.check("till") == ([], "")
