"""All settings of `triggerfish`, by flag, environment (TRIGGERFISH_...) or file, in order of precedence."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from yaml import YAMLError

from listeners.connections.allowed_hosts import parse_host_pattern
from listeners.connections.connections_dir import read_folder
from listeners.connections.named import Connections
from listeners.connections.settings import ConnectionSettings, connections_from
from listeners.errors import ConfigurationError
from listeners.runtime.bounded_yaml import load_yaml
from listeners.settings import HostSettings
from listeners.text import did_you_mean, syntax_problem

__all__ = ["LocalSettings", "ScalerSettings", "Settings", "TlsSettings", "load_settings"]

PREFIX = "TRIGGERFISH_"
#: Variables that are no settings: those of --config, --log-level, --log-format, an instance's name, and the version of
#: the Redis extension that a project of Azure Functions was written for.
OTHER_VARIABLES = frozenset(
    {
        "TRIGGERFISH_CONFIG",
        "TRIGGERFISH_LOG",
        "TRIGGERFISH_LOG_FORMAT",
        "TRIGGERFISH_INSTANCE",
        "TRIGGERFISH_REDIS_EXTENSION",
    }
)
#: What Kubernetes injects for a Service named triggerfish or triggerfish-...: its address, ports and links.
SERVICE_VARIABLE = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_.+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?$")
SERVICE_LINK = re.compile(r"(tcp|udp|sctp)://")


class TlsSettings(BaseModel):
    """TLS for the gRPC port. The files are in PEM format, and are reloaded when they change."""

    model_config = ConfigDict(extra="forbid")

    certificate_file: Path = Field(description="the scaler's certificate, followed by intermediate certificates")
    key_file: Path = Field(description="the private key of the certificate, unencrypted")
    client_ca_file: Path | None = Field(
        default=None, description="the CA of client certificates; if set, clients without a certificate are rejected"
    )


class ScalerSettings(BaseModel):
    """How the scaler measures backlogs and serves requests."""

    model_config = ConfigDict(extra="forbid")

    grpc_host: str = Field(default="0.0.0.0", description="listen address for gRPC")  # noqa: S104  (KEDA is remote)
    grpc_port: int = Field(default=6000, ge=0, le=65535, description="gRPC port for KEDA")
    tls: TlsSettings | None = Field(default=None, description="TLS for the gRPC port; plaintext if not set")
    http_host: str = Field(default="0.0.0.0", description="listen address for metrics, probes and JSON")  # noqa: S104
    http_port: int = Field(default=8080, ge=0, le=65535, description="port for metrics, probes and JSON")
    peers: str | None = Field(
        default=None,
        pattern=r"^\S+:\d{1,5}$",
        description="host and HTTP port of all scalers, such as those of a headless Service, which the status page and "
        "JSON ask for their triggers",
    )
    bound_seconds: float = Field(
        default=2.0, gt=0, le=30, description="maximum time to answer a request; KEDA sets no deadline"
    )
    push_interval_seconds: float = Field(
        default=0.1,
        gt=0,
        le=60,
        description="time between two checks of a trigger with an open StreamIsActive that is polled",
    )
    sampling_commands_per_second: int = Field(
        default=20_000,
        ge=1,
        le=10_000_000,
        description="command budget per Redis for checking triggers with an open StreamIsActive; if those that are "
        "polled need more, they are checked less often than push_interval_seconds",
    )
    grace_period_seconds: float = Field(
        default=5.0, ge=0, le=300, description="time for requests in progress to finish after SIGTERM"
    )
    ignored_metadata: list[str] = Field(
        default=[], description="metadata keys to ignore besides KEDA's own, such as those of a policy tool"
    )
    trust_network: bool = Field(
        default=False, description="trust the namespaces in requests, because only KEDA can reach the gRPC port"
    )
    allowed_hosts: list[Annotated[str, AfterValidator(parse_host_pattern)]] = Field(
        default=[],
        description="hosts that ScaledObjects may name in connection strings: host names, *. and a name, or networks",
    )
    declared_interval_seconds: float = Field(
        default=15.0,
        ge=1,
        le=3600,
        description="how often declared triggers are sampled, with or without requests",
    )


class LocalSettings(BaseModel):
    """How `triggerfish up` scales processes on one machine. Names and meanings are KEDA's.

    The defaults are shorter than KEDA's (30 s, 300 s, 300 s), because a process starts in less than a second.
    """

    model_config = ConfigDict(extra="forbid")

    polling_interval_seconds: float = Field(default=1.0, gt=0, le=3600, description="time between two polls")
    cooldown_seconds: float = Field(
        default=30.0, ge=0, le=86_400, description="time without activity before the last process is stopped"
    )
    stabilization_window_seconds: float = Field(
        default=10.0, ge=0, le=86_400, description="window for scaling down; the highest target within it applies"
    )
    min_instances: int = Field(default=0, ge=0, le=1000, description="minimum number of processes")
    max_instances: int = Field(default=4, ge=1, le=1000, description="maximum number of processes")

    @model_validator(mode="after")
    def _min_below_max(self) -> "LocalSettings":
        if self.min_instances > self.max_instances:
            raise ValueError(f"min_instances {self.min_instances} is above max_instances {self.max_instances}")
        return self


class Settings(BaseSettings):
    """All settings. `connection` is the default Redis, `connections` are the named ones."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )
    file: ClassVar[Path | None] = None

    connection: ConnectionSettings | None = Field(
        default=None, description="the default Redis: host:port,option=value, a URL, or the settings below"
    )
    connections: dict[str, ConnectionSettings] = Field(default={}, description="named Redis servers")
    connections_dir: Path | None = Field(
        default=None, description="a folder with more named servers, one file for each, such as a mounted Secret"
    )
    host: HostSettings = HostSettings()
    scaler: ScalerSettings = ScalerSettings()
    local: LocalSettings = LocalSettings()
    #: Triggers that the scaler samples even without requests: the metadata of each, by a name of the user's choice.
    triggers: dict[str, dict[str, Any]] = Field(
        default={}, repr=False, description="declared triggers by name, as metadata; sampled even without requests"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources in order of precedence: flags, environment, file."""
        from_file = load_yaml(cls.file.read_text("utf-8")) if cls.file is not None else None
        return (init_settings, _Environment(settings_cls), InitSettingsSource(settings_cls, from_file or {}))

    def redis_connections(self) -> Connections:
        """Return the connections that triggers may name. Raises ConfigurationError for an unusable one."""
        return connections_from(self.connection, self.connections, self.mounted_connections())

    def mounted_connections(self) -> dict[str, ConnectionSettings | ConfigurationError]:
        """Return the connections in `connections_dir` now. Raises ConfigurationError if the folder cannot be read."""
        return read_folder(self.connections_dir) if self.connections_dir is not None else {}


class _Environment(EnvSettingsSource):
    """Reads the environment. A connection may be a string, an option of it each in a variable, or both."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        """Return the variables with the string of a connection that has other options too under its full name."""
        variables = dict(super()._load_env_vars())
        for name in list(variables):
            is_connection = re.fullmatch(rf"{PREFIX}connection(s__((?!__).)+)?", name, re.IGNORECASE)
            if is_connection and any(other.startswith(f"{name}__") for other in variables):
                variables[f"{name}__connection_string"] = variables.pop(name)
        return variables

    def prepare_field_value(self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool) -> Any:
        """Return the value of a setting. A connection is a string even if it looks like JSON."""
        if field_name == "connection" and value is not None:
            return value
        return super().prepare_field_value(field_name, field, value, value_is_complex)


def load_settings(file: Path | None, **flags: Any) -> Settings:
    """Load the settings. Raises ConfigurationError with the setting, the value and the fix."""
    if file is not None and not file.is_file():
        raise ConfigurationError("config", str(file), "There is no such file. Check the path.")

    class FromFile(Settings):
        pass

    FromFile.file = file
    _check_variables()
    try:
        return _with_valid_connections(FromFile(**flags))
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        # A misspelt setting may be why another one is missing.
        problem = min(problems, key=lambda one: one["type"] != "extra_forbidden")
        name = ".".join(str(part) for part in problem["loc"])
        hint = did_you_mean(name, _names(Settings)) if problem["type"] == "extra_forbidden" else ""
        raise ConfigurationError(
            name or "settings",
            problem["input"] if _may_be_shown(name, problem["type"], problem["input"]) else None,
            f"{hint}{problem['msg']} (set by flag, TRIGGERFISH_{name.replace('.', '__').upper()} or settings file).",
        ) from None
    except SettingsError as error:  # a variable that should hold JSON
        raise ConfigurationError("environment", None, f"A variable does not parse: {error}.") from None
    except (OSError, ValueError, TypeError, AttributeError, LookupError, RecursionError, YAMLError) as error:
        raise ConfigurationError("config", str(file), f"It is not a YAML mapping: {syntax_problem(error)}.") from None


def _check_variables() -> None:
    """Raise ConfigurationError for a variable with our prefix that no setting reads, without its value."""
    names = {f"{PREFIX}{name.replace('.', '__').upper()}" for name in _names(Settings)}
    sections = {
        f"{PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if _has_parts(field.annotation)
    }
    for given, value in os.environ.items():
        variable = given.upper()
        section, _, part = variable.partition("__")
        # The case of the other variables matters, as the command line reads them.
        read = section in sections if part else variable in names or given in OTHER_VARIABLES
        if not variable.startswith(PREFIX) or read or _of_a_service(variable, value):
            continue
        fix = (
            f"{did_you_mean(variable, names | OTHER_VARIABLES)}There is no such setting. Correct or unset the variable."
        )
        raise ConfigurationError(given, None, fix)


def _has_parts(annotation: object) -> bool:
    """Return whether a setting is a section, or named settings, of which a variable may set one."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return any(get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, BaseModel)) for kind in kinds)


def _of_a_service(variable: str, value: str) -> bool:
    """Return whether Kubernetes injects such a variable. TRIGGERFISH_..._PORT is one only if its value is a link."""
    return bool(SERVICE_VARIABLE.search(variable) or (variable.endswith("_PORT") and SERVICE_LINK.match(value)))


def _names(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the names of all settings and sections, with dots."""
    for name, field in section.model_fields.items():
        yield f"{prefix}{name}"
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield from _names(candidate, f"{prefix}{name}.")


def _may_be_shown(name: str, problem: str, value: object) -> bool:
    """Return whether an error may show a value. Connections, triggers and unknown settings may hold a password, and so
    may anything that resembles a connection string.
    """
    secret = "connection" in name or name.startswith("triggers") or problem == "extra_forbidden"
    if isinstance(value, str):
        return not secret and not re.search(r"[@=]|://", value)
    return not secret and isinstance(value, int | float)


def _with_valid_connections(settings: Settings) -> Settings:
    """Return the settings if every connection string parses, used or not, else raise a ConfigurationError."""
    for name, connection in settings.connections.items():
        connection.check_string(f"connections.{name}")
    default = settings.connection
    if default is not None:
        default.check_string("connection")
        if default.namespaces or default.key_prefixes:
            fix = "The default connection has no namespaces or key_prefixes. Define a named connection with them."
            raise ConfigurationError("connection", None, fix)
    return settings
