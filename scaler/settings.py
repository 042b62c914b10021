"""All settings of `triggerfish`: by flag, environment (TRIGGERFISH_...) or file, in this order."""

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

from listeners.connections.allowed_hosts import parse_host_pattern
from listeners.connections.connections_dir import read_folder
from listeners.connections.named import Connections
from listeners.connections.settings import ConnectionSettings, connections_from
from listeners.connections.strings import parse_connection_string
from listeners.errors import ConfigurationError, ConnectionStringError
from listeners.settings import HostSettings

__all__ = ["LocalSettings", "ScalerSettings", "Settings", "TlsSettings", "load_settings"]


class TlsSettings(BaseModel):
    """TLS for KEDA's calls. The files are in PEM, and are read again when they change."""

    model_config = ConfigDict(extra="forbid")

    certificate_file: Path = Field(description="the scaler's certificate, with those between it and its CA")
    key_file: Path = Field(description="the certificate's key, not encrypted")
    client_ca_file: Path | None = Field(
        default=None, description="the CA of clients' certificates; given: clients without one are refused"
    )


class ScalerSettings(BaseModel):
    """How the scaler measures and answers."""

    model_config = ConfigDict(extra="forbid")

    grpc_host: str = Field(default="0.0.0.0", description="address for KEDA's calls")  # noqa: S104  (KEDA is elsewhere)
    grpc_port: int = Field(default=6000, ge=0, le=65535, description="port for KEDA's calls")
    tls: TlsSettings | None = Field(default=None, description="TLS for KEDA's calls; plain text without it")
    http_host: str = Field(default="0.0.0.0", description="address for metrics, probes and JSON")  # noqa: S104
    http_port: int = Field(default=8080, ge=0, le=65535, description="port for metrics, probes and JSON")
    bound_seconds: float = Field(
        default=2.0, gt=0, le=30, description="the longest that one answer takes: KEDA sets no deadline of its own"
    )
    push_interval_seconds: float = Field(
        default=0.1, gt=0, le=60, description="how often the triggers with an open StreamIsActive are looked at"
    )
    sampling_commands_per_second: int = Field(
        default=20_000,
        ge=1,
        le=10_000_000,
        description="what looking at the triggers with an open StreamIsActive may cost one Redis: with very many of "
        "them it takes turns, and push_interval_seconds grows",
    )
    grace_period_seconds: float = Field(
        default=5.0, ge=0, le=300, description="how long calls under way may take after SIGTERM"
    )
    ignored_metadata: list[str] = Field(
        default=[], description="metadata keys to pass over, beside KEDA's own, such as those of a policy tool"
    )
    trust_network: bool = Field(
        default=False, description="namespaces in requests are believed, as only KEDA can reach the gRPC port"
    )
    allowed_hosts: list[Annotated[str, AfterValidator(parse_host_pattern)]] = Field(
        default=[],
        description="hosts that ScaledObjects may name by connection strings: names, *. and a name, or networks",
    )
    declared_interval_seconds: float = Field(
        default=15.0, ge=1, le=3600, description="how often declared triggers are sampled when nobody asks"
    )


class LocalSettings(BaseModel):
    """How `triggerfish up` scales processes on one machine, with KEDA's names and meanings.

    The defaults are shorter than KEDA's (30 s, 300 s, 300 s), as a process starts in less than a second.
    """

    model_config = ConfigDict(extra="forbid")

    polling_interval_seconds: float = Field(default=1.0, gt=0, le=3600, description="time between two looks")
    cooldown_seconds: float = Field(
        default=30.0, ge=0, description="time without activity before the last instance stops"
    )
    stabilization_window_seconds: float = Field(
        default=10.0, ge=0, description="scale down to the highest target of so long"
    )
    min_instances: int = Field(default=0, ge=0, le=1000, description="never fewer processes")
    max_instances: int = Field(default=4, ge=1, le=1000, description="never more processes")

    @model_validator(mode="after")
    def _min_below_max(self) -> "LocalSettings":
        if self.min_instances > self.max_instances:
            raise ValueError(f"min_instances {self.min_instances} is above max_instances {self.max_instances}")
        return self


class Settings(BaseSettings):
    """Everything that can be set. `connection` is the default Redis, `connections` those with names."""

    model_config = SettingsConfigDict(
        env_prefix="TRIGGERFISH_", env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )
    file: ClassVar[Path | None] = None

    connection: SecretStr | None = Field(default=None, description="the default Redis: host:port,option=value or a URL")
    connections: dict[str, ConnectionSettings] = Field(default={}, description="Redis servers by name")
    connections_dir: Path | None = Field(
        default=None, description="a folder with more of them, a file each, such as a mounted Secret"
    )
    host: HostSettings = HostSettings()
    scaler: ScalerSettings = ScalerSettings()
    local: LocalSettings = LocalSettings()
    #: Triggers that the scaler watches whoever asks, as metadata would name them, by a name for people.
    triggers: dict[str, dict[str, Any]] = Field(default={}, description="declared triggers")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags over environment over file."""
        return (init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=cls.file))

    def redis_connections(self) -> Connections:
        """The connections that triggers may name. Raises ConfigurationError for one that cannot be used."""
        return connections_from(self.connection, self.connections, self.mounted_connections())

    def mounted_connections(self) -> dict[str, ConnectionSettings | ConfigurationError]:
        """What is in `connections_dir` now. Raises ConfigurationError if there is no such folder."""
        return read_folder(self.connections_dir) if self.connections_dir is not None else {}


def load_settings(file: Path | None, **flags: Any) -> Settings:
    """Load the settings. Raises ConfigurationError that names the setting, the value and the fix."""
    if file is not None and not file.is_file():
        raise ConfigurationError("config", str(file), "There is no such file.")

    class FromFile(Settings):
        pass

    FromFile.file = file
    try:
        return _with_good_connections(FromFile(**flags))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise ConfigurationError(
            name or "settings",
            problem["input"] if _may_be_shown(name, problem["type"], problem["input"]) else None,
            f"{problem['msg']} (flag, TRIGGERFISH_{name.replace('.', '__').upper()} or settings file).",
        ) from None
    except SettingsError as error:  # a variable that should hold JSON
        raise ConfigurationError("environment", None, f"It does not parse: {error}.") from None
    except (OSError, ValueError, TypeError, AttributeError, YAMLError) as error:
        first_line = str(error).splitlines()[0]
        raise ConfigurationError("config", str(file), f"It is not YAML of names and values: {first_line}.") from None


def _may_be_shown(name: str, problem: str, value: object) -> bool:
    """Whether an error may show the value: a connection, or what stands under a misspelt name, may hold a password,
    and so may what looks like a connection string, wherever it stands.
    """
    secret = "connection" in name or name.startswith("triggers") or problem == "extra_forbidden"
    return not secret and isinstance(value, str | int | float) and not re.search(r"[@=]|://", str(value))


def _with_good_connections(settings: Settings) -> Settings:
    """The settings, if every connection string parses, used or not. Raises ConnectionStringError that names it."""
    strings = {f"connections.{name}": connection.connection_string for name, connection in settings.connections.items()}
    if settings.connection is not None:
        strings["connection"] = settings.connection
    for name, string in strings.items():
        try:
            parse_connection_string(string.get_secret_value())
        except ConnectionStringError as error:
            raise ConnectionStringError(error.fix, field=name) from None
    return settings
