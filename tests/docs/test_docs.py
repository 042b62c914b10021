"""What docs/ shows is understood as it stands there, and what it names exists."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from listeners.connections.settings import ConnectionSettings
from listeners.connections.strings import parse_connection_string
from listeners.engine.metrics import HostMetrics
from listeners.functions.loading import load_app
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger, field_name
from listeners.settings import HostSettings
from scaler.settings import LocalSettings
from scaler.triggers.metadata import read_metadata
from tests.monitoring.files import ROOT, anchors
from tests.monitoring.kube_state_metrics import NAMES
from triggerfish import App

#: What the scaler exports, letter by letter.
EXPOSITIONS = sorted((ROOT / "tests/scaler/monitoring/expected").glob("*.prom"))
DOCS = sorted((ROOT / "docs").glob("*.md"))
TRIGGERS: tuple[type[Trigger], ...] = (ListTrigger, StreamTrigger, PubSubTrigger)
#: Keys of metadata that are not parameters of a trigger.
LABELS = {"type", "function", "app", "activationMessages", "maxInstances"}
CONNECTION_OPTIONS = ("user", "password", "ssl", "defaultDatabase", "serviceName", "sentinelUser", "sentinelPassword")
#: All that the metadata, and the authentication, of KEDA's Redis scalers may have.
KEDA = """
address host port addresses hosts ports username password sentinelUsername sentinelPassword sentinelMaster
databaseIndex enableTLS unsafeSsl ca cert key listName listLength activationListLength stream consumerGroup
pendingEntriesCount streamLength lagCount activationLagCount metricType tls keyPassword
"""
#: All that function.json may have for a Redis trigger, in any version of the extension.
AZURE = """
type connection connectionStringSetting ConnectionString key keys channel pollingIntervalInMs messagesPerWorker count
maxBatchSize batchSize listPopFromBeginning consumerGroup deleteAfterProcess name direction scriptFile entryPoint
disabled
"""


def blocks(document: Path, language: str) -> list[str]:
    """The code blocks of a language in a document."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", document.read_text(), re.DOTALL | re.MULTILINE)


def documents_in_yaml() -> list[Any]:
    """All that the documents show in YAML."""
    shown = [block for document in DOCS for block in blocks(document, "yaml")]
    return [one for block in shown for one in yaml.safe_load_all(block)]


def external_triggers(shown: Any) -> Iterator[dict[str, Any]]:
    """The external triggers somewhere in it."""
    if isinstance(shown, dict):
        if str(shown.get("type")).startswith("external"):
            yield shown
        shown = list(shown.values())
    if isinstance(shown, list):
        for part in shown:
            yield from external_triggers(part)


def test_every_external_trigger_is_understood() -> None:
    """The scaler reads the metadata of each external trigger that the documents show; each pushes."""
    found = list(external_triggers(documents_in_yaml()))
    assert len(found) >= 2
    for trigger in found:
        assert trigger["type"] == "external-push"
        assert read_metadata(trigger["metadata"]).function


def test_every_trigger_in_values_is_understood() -> None:
    """What the documents show as values for the chart has triggers that the scaler reads, of connections that exist."""
    values = [shown for shown in documents_in_yaml() if "apps" in shown]
    assert values
    for shown in values:
        for app in shown["apps"].values():
            for function, trigger in app["triggers"].items():
                read_metadata({"function": function, **{key: str(value) for key, value in trigger.items()}})
                assert trigger["connection"] in shown["connections"]


@pytest.mark.parametrize("document", [one for one in DOCS if blocks(one, "python")], ids=lambda document: document.name)
def test_every_app_loads(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The apps that a document shows load, and so does a file that declares their functions."""
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    for block in blocks(document, "python"):
        (tmp_path / "shop.py").write_text(block)
        monkeypatch.delitem(sys.modules, "shop", raising=False)
        assert isinstance(load_app(str(tmp_path / "shop.py")), App)
    declared = [block for block in blocks(document, "yaml") if block.startswith("functions:")]
    for block in declared:
        (tmp_path / "app.yaml").write_text(block)
        monkeypatch.delitem(sys.modules, "shop", raising=False)
        assert load_app(str(tmp_path / "app.yaml")).functions
    monkeypatch.delitem(sys.modules, "shop", raising=False)


def test_the_values_are_those_of_the_app(tmp_path: Path) -> None:
    """The values that kubernetes.md shows are what its app declares: `triggerfish manifest --check` says so."""
    document = ROOT / "docs/kubernetes.md"
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
    """A metric that the documents name is one of ours, or one of kube-state-metrics that the rules may use."""
    registry = CollectorRegistry()
    HostMetrics(registry)
    ours = {family.name for family in registry.collect()}
    for expected in EXPOSITIONS:
        ours |= set(re.findall(r"^# TYPE (\w+) ", expected.read_text(), re.MULTILINE))
    named = {name for one in DOCS for name in re.findall(r"\b(?:triggerfish|kube)_[a-z_]*[a-z]\b", one.read_text())}
    assert named
    assert {name.removesuffix("_total") for name in named} <= {name.removesuffix("_total") for name in ours} | set(
        NAMES
    )


@pytest.mark.parametrize("document", DOCS, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """A link to a file of ours leads to one that exists, and to a heading in it."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.is_file(), target
        assert not anchor or anchor in anchors(file), target


def table(heading: str) -> list[list[str]]:
    """The rows of the table below a heading of migrating.md, as cells."""
    section = (ROOT / "docs/migrating.md").read_text().partition(f"\n### {heading}\n")[2].partition("\n##")[0]
    rows = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)[2:]
    return [[cell.strip() for cell in row.split("|")] for row in rows]


def names(cell: str) -> list[str]:
    """The names in a cell, without the values that some of them have."""
    return [re.sub(r": .*", "", name) for name in re.findall(r"`([^`]+)`", cell)]


def test_what_becomes_of_keda_triggers_is_metadata() -> None:
    """Each field that a field of KEDA's triggers becomes is one that the scaler reads, for that kind of trigger."""
    for theirs, ours, _ in table("The trigger, field by field"):
        kinds: tuple[type[Trigger], ...] = (ListTrigger,) if "list" in theirs.lower() else (StreamTrigger,)
        for name in names(ours):
            assert name in LABELS or any(field_name(kind, name) for kind in kinds), name


def test_what_becomes_of_keda_connections_is_an_option() -> None:
    """Each field that a field of KEDA's connections becomes is an option of a connection string, or a setting."""
    for _, ours, _ in table("The connection, field by field"):
        for name in names(ours):
            if name in CONNECTION_OPTIONS:
                parse_connection_string(f"a:1,serviceName=s,{name}={'1' if name == 'defaultDatabase' else 'true'}")
            elif name.isidentifier():
                assert name in ConnectionSettings.model_fields
            else:
                parse_connection_string(name)


def test_nothing_of_keda_is_left_out() -> None:
    """Every field of KEDA's Redis scalers is somewhere in the tables."""
    rows = table("The trigger, field by field") + table("The connection, field by field")
    assert {name for row in rows for name in names(row[0])} >= set(KEDA.split())


def test_what_becomes_of_function_json_is_a_parameter() -> None:
    """Every property of function.json is in the table, and becomes a parameter of a trigger where it becomes one."""
    rows = table("function.json, field by field")
    assert {name for row in rows for name in names(row[0])} == set(AZURE.split())
    for _, ours, _ in rows:
        for name in names(ours):
            assert any(name in kind.model_fields for kind in TRIGGERS), name


def test_what_becomes_of_host_json_is_a_setting() -> None:
    """What the table of host.json names here exists: a parameter, a setting, or a value of the chart."""
    known = {name for kind in TRIGGERS for name in kind.model_fields} | set(ConnectionSettings.model_fields)
    known |= {"TRIGGERFISH_LOG", "maxReplicas", "minReplicas", "connections"}
    for _, ours, _ in table("host.json and application settings"):
        assert set(names(ours)) <= known
    text = (ROOT / "docs/migrating.md").read_text()
    assert set(re.findall(r"`host\.(\w+)`", text)) - {"json"} <= set(HostSettings.model_fields)
    assert set(re.findall(r"`local\.(\w+)`", text)) <= set(LocalSettings.model_fields)
