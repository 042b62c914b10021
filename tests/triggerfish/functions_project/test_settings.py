"""App settings: where they come from, what names stand for, and connections."""

import os
from pathlib import Path

import pytest

from listeners.connections.spec import ConnectionSpec
from listeners.errors import UnknownConnectionError
from listeners.functions.triggers import ListTrigger, PubSubTrigger
from tests.triggerfish.functions_project.projects import (
    LIST,
    PUBSUB,
    add_function,
    command,
    loaded,
    mistakes,
    new_project,
)
from triggerfish.functions_project.project import connections_of, load_project

EMPTY = "def main(entry): ..."
#: Where a connection is looked for, the first place first.
PLACES = ("ConnectionStrings:AzureWebJobscache", "AzureWebJobscache", "ConnectionStrings:cache", "cache")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    add_function(new_project(tmp_path / "shop"), "Work", EMPTY, LIST)
    (tmp_path / "shop" / "local.settings.json").unlink()
    return tmp_path / "shop"


def spec_of(project: Path) -> ConnectionSpec:
    """Return where the connection leads."""
    return loaded(project).connections["cache"].check_string("cache")


@pytest.mark.parametrize("place", range(len(PLACES)))
@pytest.mark.parametrize("separator", [":", "__"])
def test_the_order_of_connections(project: Path, monkeypatch: pytest.MonkeyPatch, place: int, separator: str) -> None:
    """The first setting wins, in the order of the host of Azure Functions."""
    for number, name in enumerate(PLACES[place:], place):
        monkeypatch.setenv(name.replace(":", separator), f"127.0.0.1:{7000 + number}")
    assert spec_of(project).port == 7000 + place


@pytest.mark.parametrize("name", ["CUSTOMCONNSTR_cache", "CACHE", "connectionstrings__CACHE"])
def test_other_spellings_of_settings(project: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Case does not matter, and App Service has a prefix for connection strings."""
    monkeypatch.setenv(name, "127.0.0.1:7000")
    assert spec_of(project).port == 7000


def test_the_environment_takes_precedence(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """local.settings.json sets variables, but none that is set already."""
    monkeypatch.setenv("OWN", "environment")
    monkeypatch.delenv("OTHER", raising=False)
    new_project(project, values={"OWN": "file", "OTHER": "file"})
    loaded(project)
    assert (os.environ["OWN"], os.environ["OTHER"]) == ("environment", "file")


@pytest.mark.parametrize("name", ["ConnectionStrings__cache", "CONNECTIONSTRINGS:CACHE", "CUSTOMCONNSTR_cache"])
def test_the_environment_takes_precedence_in_any_spelling(
    project: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Code that reads the variable as local.settings.json spells it gets the value of the environment."""
    monkeypatch.setenv(name, "127.0.0.1:7000")
    new_project(project, connection="127.0.0.1:7001")
    assert spec_of(project).port == 7000
    assert os.environ[PLACES[2]] == "127.0.0.1:7000"


def test_connections_with_a_provider(project: Path) -> None:
    """local.settings.json may name the provider of a connection string."""
    (project / "local.settings.json").write_text(
        '{"ConnectionStrings": {"cache": {"ConnectionString": "127.0.0.1:7000", "ProviderName": "x"}}}'
    )
    assert spec_of(project).port == 7000


@pytest.mark.parametrize("separator", [":", "__"])
def test_an_identity(project: Path, monkeypatch: pytest.MonkeyPatch, separator: str) -> None:
    """A host and a principal are a connection with Entra ID."""
    monkeypatch.delenv("AZURE_CLIENT_ID", raising=False)
    for option, value in (("redisHostName", "x.redis.cache.windows.net"), ("principalId", "p"), ("clientId", "c")):
        monkeypatch.setenv(f"cache{separator}{option}", value)
    found = loaded(project).connections["cache"]
    spec = found.check_string("cache")
    assert (found.entra, spec.username, spec.tls, spec.port) == (True, "p", True, 6380)
    assert os.environ["AZURE_CLIENT_ID"] == "c"


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"cache__redisHostName": "h", "cache": "127.0.0.1:1"}, "cache and cache__redisHostName exclude each other"),
        ({"cache__redisHostName": "h"}, "cache__principalId"),
        ({"cache__principalId": "p"}, "cache__redisHostName"),
        ({"cache__redisHostName": "h,x=1", "cache__principalId": "p"}, "cache__redisHostName"),
        (
            {"cache__redisHostName": "h", "cache__principalId": "p", "cache__clientId": "a", "AZURE_CLIENT_ID": "b"},
            "differs from AZURE_CLIENT_ID",
        ),
    ],
    ids=["both", "no principal", "no host", "options", "another identity"],
)
def test_mistakes_in_an_identity(
    project: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], text: str
) -> None:
    """Each is named by its setting."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    [mistake] = mistakes(project)
    assert text in mistake


def test_a_connection_that_is_nowhere(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error tells where it is looked for. Triggerfish's own settings may define it."""
    monkeypatch.delenv("cache", raising=False)
    [mistake] = mistakes(project)
    assert "AzureWebJobscache or ConnectionStrings:cache" in mistake
    assert "TRIGGERFISH_CONNECTIONS__CACHE" in mistake


def test_a_name_that_another_process_has_resolved(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose name is the value of an app setting is not shown where it is not known how it is written."""
    monkeypatch.setenv("SECRET", "passw0rd")
    add_function(project, "Other", EMPTY, {**LIST, "connection": "%SECRET%"})
    app = load_project(project).app
    with pytest.raises(UnknownConnectionError, match="It is the connection of `Other`") as caught:
        connections_of(app, project, {"cache"})
    assert "passw0rd" not in str(caught.value)


def test_a_connection_string_that_cannot_be_used(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error never shows it."""
    monkeypatch.setenv("cache", "127.0.0.1:6379,passwort=secret")
    [mistake] = mistakes(project)
    assert "unknown option" in mistake
    assert "secret" not in mistake


def test_names_in_percent_signs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """App settings stand for parts of keys, channels and connections."""
    monkeypatch.setenv("cache", "127.0.0.1:6379")
    monkeypatch.setenv("QUEUE", "orders")
    monkeypatch.setenv("Own__Cache", "cache")
    add_function(project, "List", EMPTY, {**LIST, "key": "%queue%:%QUEUE%", "connection": "%Own:Cache%"})
    add_function(project, "News", EMPTY, {**PUBSUB, "channel": "news:%QUEUE%", "pattern": "%PATTERN%"})
    monkeypatch.setenv("PATTERN", "true")
    functions = loaded(project).app.functions
    listed, news = functions["List"].trigger, functions["News"].trigger
    assert isinstance(listed, ListTrigger)
    assert (listed.keys, listed.connection) == (("orders:orders",), "cache")
    assert isinstance(news, PubSubTrigger)
    assert news.is_pattern


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "local.settings.json: It is not JSON"),
        ('{"IsEncrypted": true, "Values": {"A": "c2VjcmV0"}}', "local.settings.json.IsEncrypted"),
        ('{"IsEncrypted": "false"}', "local.settings.json.IsEncrypted: Give true or false"),
        ('{"Values": ["secret"]}', "local.settings.json.Values"),
        ('{"Values": {"A": "secret\\ud800"}}', "local.settings.json: It has half of a pair of surrogates"),
        ('{"Values": 0}', "local.settings.json.Values: Give an object"),
        ('{"Values": {"": "secret"}}', "local.settings.json.Values.: It cannot be an environment variable"),
        ('{"Values": {"TRIGGERFISH_HOST__LEASE_SECONDS": "secret"}}', "reads its own settings before this file"),
        ('{"Values": {"A": 5}}', "local.settings.json.Values.A"),
        ('{"Values": {"FUNCTIONS_WORKER_RUNTIME": "node"}}', "invalid FUNCTIONS_WORKER_RUNTIME 'node'"),
        ('{"Values": {"VAULT": "@Microsoft.KeyVault(SecretUri=https://x/secret)"}}', "VAULT: It refers to Azure Key"),
        ('{"Values": {"TRIGGERFISH_REDIS_EXTENSION": "0.5"}}', "Use 1.0.0 or preview."),
    ],
    ids=[
        "syntax",
        "encrypted",
        "text for a flag",
        "list",
        "half a character",
        "number for values",
        "no name",
        "own setting",
        "number",
        "runtime",
        "vault",
        "extension",
    ],
)
def test_mistakes_in_local_settings(project: Path, monkeypatch: pytest.MonkeyPatch, content: str, text: str) -> None:
    """Each is named, and no value is shown."""
    monkeypatch.setenv("cache", "127.0.0.1:6379")
    (project / "local.settings.json").write_text(content)
    [mistake] = mistakes(project)
    assert text in mistake
    assert "secret" not in mistake.lower().replace("secret itself", "").replace("kubernetes secret", "")


@pytest.mark.parametrize(
    ("options", "commands"),
    [
        ({"maxBatchSize": "%SECRET%"}, {}),
        ({"listDirection": "%SECRET%"}, {}),
        ({"connection": "%ADDRESS%"}, {}),
        ({}, {"command": "%SECRET%"}),
        ({}, {"command": "GET %SECRET% {Message}"}),
        ({}, {"connection": "%SECRET%"}),
        ({"connection": "%SECRET%"}, {"connection": "%ADDRESS%"}),
        ({"connection": "%SECRET%"}, {"connection": "%SECRET%"}),
        ({"connection": "redis-%SECRET%"}, {"connection": "redis-%SECRET%"}),
    ],
    ids=["number", "direction", "address", "command", "argument", "connection of a command", "two", "name", "part"],
)
def test_errors_show_names_in_percent_signs(
    project: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], commands: dict[str, str]
) -> None:
    """The app setting that stands for one may be secret."""
    monkeypatch.setenv("cache", "127.0.0.1:6379")
    monkeypatch.setenv("SECRET", "passw0rd")
    monkeypatch.setenv("ADDRESS", "127.0.0.1:6379,password=passw0rd")
    bindings = {**LIST, **options}, {**command("in", "GET {Value}"), **commands}
    add_function(project, "Wrong", "def main(entry, value): ...", *bindings)
    [mistake] = mistakes(project)
    assert "passw0rd" not in mistake
    assert "%" in mistake or "***" in mistake
