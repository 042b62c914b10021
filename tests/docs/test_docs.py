"""The pages: their examples are valid as shown, and the names in them exist."""

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client import CollectorRegistry

from listeners.connections.settings import ConnectionSettings
from listeners.connections.strings import parse_connection_string
from listeners.engine.metrics import HostMetrics
from listeners.functions.declarations import field_name
from listeners.functions.loading import load_app
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from listeners.settings import HostSettings
from scaler.monitoring.status import TriggerStatus
from scaler.queues.trigger import QueueTrigger
from scaler.settings import LocalSettings, Settings, load_settings
from scaler.triggers.metadata import read_metadata
from scaler.triggers.scaled_objects import RequestedTrigger, triggers_in
from tests.docs.blocks import DOCS, PAGES, ROOT, blocks, named_files
from tests.monitoring.files import anchors
from tests.monitoring.kube_state_metrics import NAMES
from tests.support.schemas import check_object
from triggerfish import App
from triggerfish.cli.program import program

#: The scaler's exact output in the exposition format.
EXPOSITIONS = sorted((ROOT / "tests/scaler/monitoring/expected").glob("*.prom"))
KUBERNETES = DOCS / "how-to" / "kubernetes.md"
MIGRATING = DOCS / "how-to" / "migrating.md"
TRIGGERS: tuple[type[Trigger], ...] = (ListTrigger, StreamTrigger, PubSubTrigger)
#: Keys of metadata that are not parameters of a trigger.
LABELS = {"type", "function", "app", "activationMessages", "maxInstances"}
CONNECTION_OPTIONS = ("user", "password", "ssl", "defaultDatabase", "serviceName", "sentinelUser", "sentinelPassword")
#: All fields of the metadata and the authentication of KEDA's Redis scalers.
KEDA = """
address host port addresses hosts ports username password sentinelUsername sentinelPassword sentinelMaster
databaseIndex enableTLS unsafeSsl ca cert key listName listLength activationListLength stream consumerGroup
pendingEntriesCount streamLength lagCount activationLagCount metricType tls keyPassword
"""
#: All properties of a Redis trigger in function.json, in any version of the extension.
AZURE = """
type connection connectionStringSetting ConnectionString key keys channel pollingIntervalInMs messagesPerWorker count
maxBatchSize batchSize listPopFromBeginning listDirection pattern consumerGroup deleteAfterProcess command dataType
cardinality retry name direction scriptFile entryPoint disabled
"""


def documents_in_yaml() -> list[Any]:
    """Return all YAML documents in the pages."""
    shown = [block for page in PAGES for block in blocks(page, "yaml")]
    return [one for block in shown for one in yaml.safe_load_all(block)]


def external_triggers(shown: Any) -> Iterator[dict[str, Any]]:
    """Yield the external triggers at any depth of a document."""
    if isinstance(shown, dict):
        if str(shown.get("type")).startswith("external"):
            yield shown
        shown = list(shown.values())
    if isinstance(shown, list):
        for part in shown:
            yield from external_triggers(part)


def test_every_external_trigger_is_understood() -> None:
    """The scaler accepts the metadata of every external trigger in the pages. Only a ScaledJob, which KEDA does not
    wake, has another type than external-push.
    """
    found = [(shown, trigger) for shown in documents_in_yaml() for trigger in external_triggers(shown)]
    assert len(found) >= 3
    for shown, trigger in found:
        assert trigger["type"] == ("external" if shown.get("kind") == "ScaledJob" else "external-push")
        scaled = read_metadata(trigger["metadata"])
        assert scaled.function or isinstance(scaled.trigger, QueueTrigger)


def test_the_scaled_job_is_valid(tmp_path: Path) -> None:
    """KEDA accepts the ScaledJob, and `triggerfish probe` reads its trigger."""
    [block] = [block for block in blocks(DOCS / "how-to" / "jobs.md", "yaml") if "kind: ScaledJob" in block]
    check_object(yaml.safe_load(block))
    file = tmp_path / "scaledjob.yaml"
    file.write_text(block)
    [trigger] = triggers_in(file, "localhost:6000", {}, "default")
    assert isinstance(trigger, RequestedTrigger)
    container = yaml.safe_load(block)["spec"]["jobTargetRef"]["template"]["spec"]["containers"][0]
    _check_subcommand(typer.main.get_command(program), container["args"])


def test_every_trigger_in_values_is_understood() -> None:
    """In the pages' values for the chart, the scaler accepts every trigger, and every connection exists."""
    values = [shown for shown in documents_in_yaml() if "apps" in shown]
    assert values
    for shown in values:
        for app in shown["apps"].values():
            triggers = {"queue": app["queue"]} if "queue" in app else app["triggers"]
            for function, trigger in triggers.items():
                read_metadata({"function": function, **{key: str(value) for key, value in trigger.items()}})
                assert trigger["connection"] in shown["connections"]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_every_app_loads(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The apps of a page load, and so does a file that declares their functions."""
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    for name, text in named_files(page).items():
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)  # another page has a file of the same name
        (tmp_path / name).write_text(text)
        compile(text, name, "exec")
        if "App(" in text:
            assert isinstance(load_app(str(tmp_path / name)), App)
    for block in blocks(page, "yaml"):
        if block.startswith("functions:"):
            (tmp_path / "app.yaml").write_text(block)
            assert load_app(str(tmp_path / "app.yaml")).functions


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists(page: Path) -> None:
    """Every line that runs `triggerfish` has a command, options and arguments that exist."""
    root = typer.main.get_command(program)
    for block in blocks(page, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            found = re.match(r"\$ (?:\w+=\S+ )*triggerfish ([^|>]*)", line)
            if found:
                _check_subcommand(root, shlex.split(found[1], comments=True))


def _check_subcommand(group: Any, words: list[str]) -> None:
    command = group.commands[words[0]]
    if hasattr(command, "commands"):
        _check_subcommand(command, words[1:])
    else:
        command.make_context(words[0], words[1:]).close()


def test_every_settings_file_loads(tmp_path: Path) -> None:
    """Every block of settings is accepted as shown."""
    every = [(block, list(yaml.safe_load_all(block))) for page in PAGES for block in blocks(page, "yaml")]
    maps = [(block, parts[0]) for block, parts in every if len(parts) == 1 and isinstance(parts[0], dict)]
    shown = [block for block, content in maps if content.keys() <= Settings.model_fields.keys()]
    assert len(shown) >= 4
    for block in shown:
        (tmp_path / "settings.yaml").write_text(block)
        load_settings(tmp_path / "settings.yaml")


def test_the_json_of_a_trigger_is_one() -> None:
    """The JSON in http.md has the format of the scaler's API."""
    [shown] = blocks(DOCS / "reference" / "http.md", "json")
    assert TriggerStatus.model_validate_json(shown).as_json() == json.loads(shown)


def test_the_unit_of_systemd_runs_a_command_that_exists() -> None:
    """The unit file can be parsed, and its command exists."""
    [unit] = blocks(DOCS / "how-to" / "compose-and-systemd.md", "ini")
    parser = configparser.ConfigParser()
    parser.read_string(unit)
    _, *words = parser["Service"]["ExecStart"].split()
    _check_subcommand(typer.main.get_command(program), words)


def test_the_compose_file_runs_a_command_that_exists() -> None:
    """The command of the app's service exists."""
    [composed] = [yaml.safe_load(block) for block in blocks(DOCS / "how-to" / "compose-and-systemd.md", "yaml")]
    _check_subcommand(typer.main.get_command(program), composed["services"]["shop"]["command"])


def test_the_values_are_those_of_the_app(tmp_path: Path) -> None:
    """The values in kubernetes.md match its app: `triggerfish manifest --check` succeeds."""
    document = KUBERNETES
    [values] = [block for block in blocks(document, "yaml") if "\napps:" in block]
    (tmp_path / "shop.py").write_text(blocks(document, "python")[0])
    (tmp_path / "values.yaml").write_text(values)
    command = [sys.executable, "-m", "triggerfish", "manifest", str(tmp_path / "shop.py"), "--check", "values.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path, env=environment
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_metric_exists() -> None:
    """Every metric in the pages is Triggerfish's, or one of kube-state-metrics that the rules may use."""
    registry = CollectorRegistry()
    HostMetrics(registry)
    ours = {family.name for family in registry.collect()}
    for expected in EXPOSITIONS:
        ours |= set(re.findall(r"^# TYPE (\w+) ", expected.read_text(), re.MULTILINE))
    named = {name for one in PAGES for name in re.findall(r"\b(?:triggerfish|kube)_[a-z_]*[a-z]\b", one.read_text())}
    assert named
    assert {name.removesuffix("_total") for name in named} <= {name.removesuffix("_total") for name in ours} | set(
        NAMES
    )


@pytest.mark.parametrize("document", PAGES, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """Every link to a file of the project leads to an existing file and heading."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith("https://") or target.endswith((".svg", ".png")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


def table(heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading of migrating.md, as cells."""
    section = MIGRATING.read_text().partition(f"\n### {heading}\n")[2].partition("\n##")[0]
    rows = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)[2:]
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def names(cell: str) -> list[str]:
    """Return the names in a cell, without their values."""
    return [re.sub(r": .*", "", name) for name in re.findall(r"`([^`]+)`", cell)]


def test_what_becomes_of_keda_triggers_is_metadata() -> None:
    """Every equivalent of a field of KEDA's triggers is a field that the scaler reads for that kind of trigger."""
    for theirs, ours, _ in table("The trigger, field by field"):
        kinds: tuple[type[Trigger], ...] = (ListTrigger,) if "list" in theirs.lower() else (StreamTrigger,)
        for name in names(ours):
            assert name in LABELS or any(field_name(kind, name) for kind in kinds), name


def test_what_becomes_of_keda_connections_is_an_option() -> None:
    """Every equivalent of a field of KEDA's connections is an option of a connection string or a setting."""
    for _, ours, _ in table("The connection, field by field"):
        for name in names(ours):
            if name in CONNECTION_OPTIONS:
                service = "" if name == "serviceName" else "serviceName=s,"
                parse_connection_string(f"a:1,{service}{name}={'1' if name == 'defaultDatabase' else 'true'}")
            elif name.isidentifier():
                assert name in ConnectionSettings.model_fields
            else:
                parse_connection_string(name)


def test_nothing_of_keda_is_left_out() -> None:
    """The tables list every field of KEDA's Redis scalers."""
    rows = table("The trigger, field by field") + table("The connection, field by field")
    assert {name for row in rows for name in names(row[0])} >= set(KEDA.split())


def test_what_becomes_of_function_json_is_a_parameter() -> None:
    """The table lists every property of function.json, and every equivalent is a parameter of a trigger."""
    rows = table("function.json, field by field")
    assert {name for row in rows for name in names(row[0])} == set(AZURE.split())
    for _, ours, _ in rows:
        for name in names(ours):
            assert any(name in kind.model_fields for kind in TRIGGERS), name


def test_what_becomes_of_host_json_is_a_setting() -> None:
    """Every equivalent in the table of host.json is a parameter, a setting or a value of the chart."""
    known = {name for kind in TRIGGERS for name in kind.model_fields} | set(ConnectionSettings.model_fields)
    known |= {"TRIGGERFISH_LOG", "maxReplicas", "minReplicas", "connections"}
    for _, ours, _ in table("host.json and application settings"):
        assert set(names(ours)) <= known
    text = MIGRATING.read_text()
    assert set(re.findall(r"`host\.(\w+)`", text)) - {"json"} <= set(HostSettings.model_fields)
    assert set(re.findall(r"`local\.(\w+)`", text)) <= set(LocalSettings.model_fields)
