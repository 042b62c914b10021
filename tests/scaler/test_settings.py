"""Settings: their sources, what is rejected, and that no secret is shown."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import annotated_types
import pytest
from pydantic import BaseModel

from listeners.connections.settings import ConnectionSettings
from listeners.errors import ConfigurationError, UnknownConnectionError
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger
from listeners.settings import HostSettings
from scaler.local_app import instance_environment
from scaler.settings import LocalSettings, ScalerSettings, Settings, load_settings

WriteFile = Callable[[str], Path]
SECRET = "hunter2"


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    """A function that writes a settings file with the given text."""

    def write(text: str) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return path

    return write


def test_flags_over_environment_over_file(write_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each setting, a flag takes precedence over the environment, and the environment over the file."""
    file = write_file("scaler: {grpc_port: 1, http_port: 1, bound_seconds: 1}\n")
    monkeypatch.setenv("TRIGGERFISH_SCALER__GRPC_PORT", "2")
    monkeypatch.setenv("TRIGGERFISH_SCALER__HTTP_PORT", "2")
    settings = load_settings(file, scaler={"grpc_port": 3}).scaler
    assert (settings.grpc_port, settings.http_port, settings.bound_seconds) == (3, 2, 1)
    assert (settings.push_interval_seconds, settings.sampling_commands_per_second) == (0.1, 20_000)


@pytest.mark.parametrize(
    "model",
    [
        Settings, HostSettings, ScalerSettings, LocalSettings, ConnectionSettings,
        ListTrigger, StreamTrigger, PubSubTrigger,
    ],
)  # fmt: skip
def test_every_number_is_bounded(model: type[BaseModel]) -> None:
    """A number without an upper bound could be too large for what is computed from it."""
    for name, field in model.model_fields.items():
        types = set(get_args(field.annotation)) or {field.annotation}
        if types & {int, float}:
            assert any(isinstance(rule, annotated_types.Le) for rule in field.metadata), name


@pytest.mark.parametrize("given", ["0", "-1", "1.5", "many"])
def test_the_budget_is_a_number_of_commands(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """An invalid budget is rejected by name."""
    monkeypatch.setenv("TRIGGERFISH_SCALER__SAMPLING_COMMANDS_PER_SECOND", given)
    with pytest.raises(ConfigurationError, match=r"scaler\.sampling_commands_per_second "):
        load_settings(None)


@pytest.mark.parametrize(("chosen", "expected"), [(None, "redis"), ("kubernetes", "kubernetes"), ("redis", "redis")])
def test_local_instances_have_their_leases_in_redis(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, expected: str
) -> None:
    """`up` reads lease holders from Redis, so its instances keep leases there, even in a pod, unless set otherwise."""
    if chosen is not None:
        monkeypatch.setenv("TRIGGERFISH_HOST__PUBSUB_LEASE", chosen)
    assert instance_environment(load_settings(None))["TRIGGERFISH_HOST__PUBSUB_LEASE"] == expected


def test_connections_from_all_sources(write_file: WriteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named connections from the file and the environment are combined, and their names ignore case."""
    file = write_file(
        "connection: from-file:1\nconnections: {Cache: 'cache:2', queue: {connection_string: 'queue:3'}}\n"
    )
    monkeypatch.setenv("TRIGGERFISH_CONNECTION", "from-environment:4")
    monkeypatch.setenv("TRIGGERFISH_CONNECTIONS__OTHER", "other:5")
    connections = load_settings(file).redis_connections()
    found = {
        name: connections.resolve(ListTrigger(keys=("k",), connection=name)).address
        for name in (None, "cache", "CACHE", "queue", "Other")
    }
    assert found == {
        None: "from-environment:4", "cache": "cache:2", "CACHE": "cache:2", "queue": "queue:3", "Other": "other:5",
    }  # fmt: skip


def test_a_connection_that_is_not_defined() -> None:
    """The error for an unknown connection names the defined ones and where to add it."""
    connections = load_settings(None, connections={"cache": "cache:1"}).redis_connections()
    with pytest.raises(UnknownConnectionError, match=r"cache.*TRIGGERFISH_CONNECTIONS__QUEUE"):
        connections.resolve(ListTrigger(keys=("k",), connection="queue"))


def test_other_variables_are_not_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRIGGERFISH_ variables that are not settings, such as the instance's name, are ignored."""
    for name in ("TRIGGERFISH_INSTANCE", "TRIGGERFISH_LOG", "TRIGGERFISH_LOG_FORMAT", "TRIGGERFISH_CONFIG"):
        monkeypatch.setenv(name, "x")
    assert load_settings(None).scaler.grpc_port == 6000


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("bogus: 1", "bogus"),
        ("scaler: {bogus: 1}", "scaler.bogus"),
        ("host: {bogus: 1}", "host.bogus"),
        ("local: {bogus: 1}", "local.bogus"),
        ("scaler: {grpc_port: abc}", "scaler.grpc_port"),
        ("scaler: {grpc_port: 70000}", "scaler.grpc_port"),
        ("scaler: {bound_seconds: 0}", "scaler.bound_seconds"),
        ("scaler: 5", "scaler"),
        ("local: {max_instances: 0}", "local.max_instances"),
        ("local: {min_instances: 5, max_instances: 2}", "local"),
        ("connections: {cache: {namespaces: [a]}}", "connections.cache.connection_string"),
        ("triggers: {orders: 5}", "triggers.orders"),
    ],
)
def test_invalid_settings_are_named(write_file: WriteFile, text: str, field: str) -> None:
    """An unknown setting, or a value of the wrong type or out of range, is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(write_file(text))
    assert caught.value.field == field
    assert f"TRIGGERFISH_{field.replace('.', '__').upper()}" in str(caught.value)


def test_a_misspelt_option_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, rather than the option that is missing beside it."""
    monkeypatch.setenv("TRIGGERFISH_CONNECTION__SSL", "x")
    with pytest.raises(ConfigurationError, match=r"^connection\.ssl: "):
        load_settings(None)


def test_an_invalid_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown name or an invalid value in the environment is a ConfigurationError that names the setting."""
    monkeypatch.setenv("TRIGGERFISH_SCALER__GRPC_PORT", "abc")
    with pytest.raises(ConfigurationError, match=r"^invalid scaler\.grpc_port 'abc': "):
        load_settings(None)
    monkeypatch.setenv("TRIGGERFISH_SCALER__GRPC_PORT", "1")
    monkeypatch.setenv("TRIGGERFISH_SCALER__BOGUS", "1")
    with pytest.raises(ConfigurationError, match=r"^scaler\.bogus: "):
        load_settings(None)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("TRIGGERFISH_CONECTION", "TRIGGERFISH_CONNECTION"),
        ("TRIGGERFISH_HOST_LEASE_SECONDS", "TRIGGERFISH_HOST__LEASE_SECONDS"),
        ("TRIGGERFISH_SCALER_GRPC_PORT", "TRIGGERFISH_SCALER__GRPC_PORT"),
        ("TRIGGERFISH_SCALAR__GRPC_PORT", "TRIGGERFISH_SCALER__GRPC_PORT"),
        ("triggerfish_conection", "TRIGGERFISH_CONNECTION"),
        ("TRIGGERFISH_LOG__LEVEL", "TRIGGERFISH_LOG"),
        ("TRIGGERFISH_CONNECTIONS_DIR__X", "TRIGGERFISH_CONNECTIONS_DIR"),
        ("triggerfish_log", "TRIGGERFISH_LOG"),
    ],
)
def test_a_misspelt_variable(monkeypatch: pytest.MonkeyPatch, variable: str, meant: str) -> None:
    """A variable that no setting reads is an error that suggests the closest one and does not show the value."""
    monkeypatch.setenv(variable, "hunter2")
    with pytest.raises(ConfigurationError, match=rf"^{variable}: Did you mean {meant}\?") as caught:
        load_settings(None)
    assert "hunter2" not in str(caught.value)


def test_a_misspelt_setting(write_file: WriteFile) -> None:
    """The error for a misspelt setting in the file suggests the closest one."""
    with pytest.raises(ConfigurationError, match=r"^host\.lease_second: Did you mean host\.lease_seconds\?"):
        load_settings(write_file("host: {lease_second: 5}"))


@pytest.mark.parametrize(
    "service", ["TRIGGERFISH", "TRIGGERFISH_SCALER", "TRIGGERFISH_SCALER_GRPC", "TRIGGERFISH_SHOP"]
)
def test_variables_of_a_kubernetes_service(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    """The variables that Kubernetes injects for a Service are no settings, whatever the Service's name."""
    link = f"{service}_PORT_6000_TCP"
    variables = {
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "6000",
        f"{service}_SERVICE_PORT_GRPC": "6000",
        f"{service}_PORT": "tcp://10.0.0.1:6000",
        link: "tcp://10.0.0.1:6000",
        f"{link}_PROTO": "tcp",
        f"{link}_PORT": "6000",
        f"{link}_ADDR": "10.0.0.1",
    }
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert load_settings(None).scaler.grpc_port == 6000


def test_a_variable_that_is_not_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable for a whole section that is not JSON is an error that names the section, not a file."""
    monkeypatch.setenv("TRIGGERFISH_SCALER", "{bad")
    with pytest.raises(ConfigurationError, match=r"^environment: .*scaler") as caught:
        load_settings(None)
    assert "None" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [b", "- a\n- b", "just text", "1: 2", "\x00", "a: b: c", "a: !!python/none x"])
def test_a_file_that_is_not_a_mapping(write_file: WriteFile, text: str) -> None:
    """A file that is not a YAML mapping of names is a one-line ConfigurationError that names the file."""
    file = write_file(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file)
    assert (caught.value.field, caught.value.value) == ("config", str(file))
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    """A settings file that does not exist is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=r"missing.yaml.*no such file"):
        load_settings(tmp_path / "missing.yaml")


def test_a_section_that_is_given_twice(write_file: WriteFile) -> None:
    """Two sections of one name are refused with the line, as the first of them would be dropped."""
    with pytest.raises(ConfigurationError, match=r"a key is given twice \(line 2, column 1\)"):
        load_settings(write_file("scaler: {grpc_port: 1}\nscaler: {http_port: 2}"))


def test_an_empty_file_sets_nothing(write_file: WriteFile) -> None:
    """An empty settings file is the same as none."""
    assert load_settings(write_file("")).model_dump() == load_settings(None).model_dump()


def test_secrets_are_not_shown() -> None:
    """The repr, text and JSON of the settings never show a password."""
    string = f"host:1,password={SECRET}"
    settings = load_settings(None, connection=string, connections={"cache": string, "b": {"connection_string": string}})
    shown = [repr(settings), str(settings), settings.model_dump_json(), repr(settings.redis_connections())]
    shown.append(repr(settings.redis_connections().resolve(ListTrigger(keys=("k",), connection="cache"))))
    assert not any(SECRET in one for one in shown)


@pytest.mark.parametrize(
    "text",
    [
        f"conection: 'host,password={SECRET}'",
        f"connection: ['host,password={SECRET}']",
        f"connections: 'redis://:{SECRET}@host'",
        f"connections: {{cache: ['host,password={SECRET}']}}",
        f"connections: {{cache: {{connection_string: host, pasword: {SECRET}}}}}",
        f"connections: {{cache: {{conection_string: 'host,password={SECRET}'}}}}",
        f"triggers: {{orders: 'redis://:{SECRET}@host'}}",
        f"scaler: {{password: {SECRET}}}",
        f"scaler: ['redis://:{SECRET}@host']",
        f"scaler: {{allowed_hosts: ['redis://:{SECRET}@host']}}",
        f"scaler: {{allowed_hosts: ['host,password={SECRET}']}}",
        f"scaler: {{allowed_hosts: 'host,password={SECRET}'}}",
        f"scaler: {{tls: {{certificate_file: a, key_file: b, key: {SECRET}}}}}",
        f"scaler: {{grpc_port: 'host,password={SECRET}'}}",
        f"connections: {{cache: {{connection_string: host, password_file: ['{SECRET}']}}}}",
        f"connections: {{cache: {{connection_string: host, entra: '{SECRET}'}}}}",
        f"connections: {{cache: {{connection_string: host, key_prefixes: {SECRET}}}}}",
        f"connection: 'host,password={SECRET}'\nbogus: 1",
        f"connection: 'host,password={SECRET}'\nconnection: [",
    ],
)
def test_secrets_are_not_in_errors(write_file: WriteFile, text: str) -> None:
    """An error about the settings never shows a password, even under a misspelt name."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(write_file(text))
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)


def test_a_secret_in_a_variable_is_not_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error about a variable that holds connections never shows a password."""
    monkeypatch.setenv("TRIGGERFISH_CONNECTIONS", json.dumps({"cache": [f"host,password={SECRET}"]}))
    with pytest.raises(ConfigurationError) as caught:
        load_settings(None)
    assert SECRET not in str(caught.value)
