"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scaler.settings import Settings, load_settings

__all__ = [
    "AppArgument",
    "ConfigOption",
    "ConnectionOption",
    "GrpcPortOption",
    "HttpPortOption",
    "LogOption",
    "MetadataOption",
    "OptionalAppArgument",
    "settings_from",
]

APP_HELP = "The app: app.py, app.py:name, package.module:name, or app.yaml."


AppArgument = Annotated[str, typer.Argument(metavar="APP", help=APP_HELP)]


OptionalAppArgument = Annotated[str | None, typer.Argument(metavar="APP", help=APP_HELP, show_default=False)]


ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="Settings in YAML.", envvar="TRIGGERFISH_CONFIG")
]


ConnectionOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="The default Redis: host:port,option=value or a redis:// URL. Passwords belong in TRIGGERFISH_CONNECTION.",
    ),
]


GrpcPortOption = Annotated[int | None, typer.Option(help="Port for KEDA's calls (6000); 0: any that is free.")]


HttpPortOption = Annotated[int | None, typer.Option(help="Port for metrics, probes and JSON; 0: any that is free.")]


LogOption = Annotated[
    str, typer.Option(metavar="LEVEL", help="debug, info, warning or error.", envvar="TRIGGERFISH_LOG")
]


MetadataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata", "-m", metavar="KEY=VALUE", help="Metadata of a trigger, as in a ScaledObject; repeatable."
    ),
]


def settings_from(config: Path | None, connection: str | None, **sections: dict[str, Any]) -> Settings:
    """Load the settings; flags that were not given are left to the environment and the file."""
    given = {name: {key: v for key, v in section.items() if v is not None} for name, section in sections.items()}
    flags = {name: section for name, section in given.items() if section}
    return load_settings(config, **flags, **({"connection": connection} if connection is not None else {}))
