"""What the README shows works as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from listeners.engine.metrics import HostMetrics
from listeners.functions.loading import load_app
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from scaler.access.access import Access
from scaler.evaluation.evaluator import Evaluator
from scaler.measuring.sampler import Samplers
from scaler.monitoring.metrics import PushCollector, ScalerMetrics
from scaler.monitoring.trigger_metrics import FAMILIES
from scaler.push.hub import ActivationHub
from scaler.push.loop import PushPace
from scaler.settings import load_settings
from scaler.triggers.metadata import read_metadata
from triggerfish.testing.server import Server

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example app, written to a file of its own."""
    path = tmp_path / "shop.py"
    path.write_text(blocks("python")[0])
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    return path


@pytest.mark.releases("valkey-9.1")
def test_the_example_app_is_checked_and_explained(server: Server, shop: Path) -> None:
    """`triggerfish check` and `explain` accept the example app, with one line for each of its functions."""
    for command in ("check", "explain"):
        arguments = [sys.executable, "-m", "triggerfish", command, str(shop), "--connection", server.address]
        ran = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
        assert ran.returncode == 0, ran.stderr
        assert all(name in ran.stdout for name in ("handle_order", "settle", "forget"))


def test_the_declaration_file_loads(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The YAML declaration, in the seed's names, makes the app that it says."""
    declared = shop.with_name("app.yaml")
    declared.write_text(next(block for block in blocks("yaml") if "functions:" in block))
    trigger = load_app(str(declared)).functions["handle_order"].trigger
    assert isinstance(trigger, ListTrigger)
    assert (trigger.keys, trigger.messages_per_worker) == (("orders",), 50)


def test_the_scaled_object_is_what_manifest_writes(shop: Path) -> None:
    """`triggerfish manifest` writes the ScaledObject for the example app, and the scaler reads its metadata."""
    shown = yaml.safe_load(next(block for block in blocks("yaml") if "ScaledObject" in block))
    file = shop.with_suffix(".yaml")
    for line in re.findall(r"^\$ triggerfish (manifest .*?)(?:  +#.*)?$", README, re.MULTILINE):
        command, _, target = line.partition(" > ")
        arguments = [sys.executable, "-m", "triggerfish", *command.split()]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(
            arguments, capture_output=True, text=True, timeout=30, check=True, cwd=shop.parent, env=environment
        )
        if target:
            (shop.parent / target).write_text(ran.stdout)
    _, written = yaml.safe_load_all(file.read_text())
    del written["spec"]["advanced"], written["metadata"]["labels"]
    written["spec"]["triggers"] = [one for one in written["spec"]["triggers"] if one in shown["spec"]["triggers"]]
    assert written == shown
    scaled = read_metadata(shown["spec"]["triggers"][0]["metadata"])
    assert isinstance(scaled.trigger, StreamTrigger)
    assert (scaled.trigger.keys, scaled.trigger.consumer_group, scaled.function) == (("payments",), "billing", "settle")


def test_the_settings_file_loads(tmp_path: Path) -> None:
    """The settings file is accepted as it stands."""
    path = tmp_path / "settings.yaml"
    path.write_text(next(block for block in blocks("yaml") if "grpc_port" in block))
    assert load_settings(path).connections.keys() == {"cache"}


def test_the_parameters_and_their_defaults_are_those_of_the_triggers() -> None:
    """The table of parameters has every parameter of every trigger, and its default."""
    section = README.partition("\n## Triggers\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)\|$", section, re.MULTILINE))
    triggers: tuple[type[Trigger], ...] = (ListTrigger, StreamTrigger, PubSubTrigger)
    for column, cls in enumerate(triggers):
        assert {name for name, row in rows.items() if row.split("|")[column].strip() == "x"} == set(cls.model_fields)
        for name, field in cls.model_fields.items():
            shown = rows[name].split("|")[3].strip().strip("`")
            if field.default is not None and not field.is_required():
                assert shown == str(field.default).removesuffix("()").replace("True", "true").replace("False", "false")


def test_every_metric_is_listed() -> None:
    """The tables of metrics name what the host and the scaler export, and nothing else."""
    registry = CollectorRegistry()
    HostMetrics(registry)
    scaler_registry = CollectorRegistry()
    ScalerMetrics(scaler_registry)
    samplers = Samplers(bound_seconds=1, on_measured=lambda seconds, error: None)
    evaluator = Evaluator(Access(load_settings(None).redis_connections()), samplers)
    scaler_registry.register(PushCollector(ActivationHub(evaluator, PushPace())))
    exported = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in (*registry.collect(), *scaler_registry.collect())
    } - {"triggerfish_build"}
    assert _listed() == exported | FAMILIES.keys()


def _listed() -> set[str]:
    """The names in the tables; a name that begins with _ replaces the last parts of the one before it."""
    names: set[str] = set()
    for row in re.findall(r"^\| (`(?:triggerfish|_).*?) \|", README, re.MULTILINE):
        stem = ""
        for name in re.findall(r"`(\w+)`", row):
            if name.startswith("_"):
                names.add(stem + name)
            else:
                stem = re.sub(r"_(length|messages_per_worker|received_total)$", "", name)
                names.add(name)
    return names


@pytest.mark.timeout(180)
def test_the_demo_ends_with_nothing_lost() -> None:
    """The demo ends by itself, with all entries handled once, more than one instance, and back at the minimum."""
    ran = subprocess.run(
        [sys.executable, "-m", "examples.demo"], capture_output=True, text=True, timeout=150, check=False, cwd=ROOT
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"pub/sub calls per message: 1; instances: [2-4] at the peak, 1 at the end, 0 crashed", ran.stdout)
    for kind in ("orders", "payments", "prices"):
        assert re.search(rf"│ {kind} +│ [\d,]+ +│ [\d,]+ +│ 0 +│ 0 +│", ran.stdout), ran.stdout
