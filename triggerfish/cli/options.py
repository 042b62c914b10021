"""Arguments and options that several commands share, each with one name and one meaning."""

import contextlib
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listeners.runtime.child_processes import HEARTBEAT_VARIABLE
from listeners.runtime.logs import LogFormat
from listeners.text import did_you_mean

if TYPE_CHECKING:
    from listeners.functions.app import App
    from scaler.settings import Settings

__all__ = [
    "AppArgument",
    "ConfigOption",
    "ConnectionOption",
    "EnvFileOption",
    "GrpcPortOption",
    "HttpPortOption",
    "JsonOption",
    "LogFormat",
    "LogFormatOption",
    "LogLevel",
    "LogLevelOption",
    "MaxInstancesOption",
    "MetadataOption",
    "MinInstancesOption",
    "NamespaceOption",
    "OptionalAppArgument",
    "ReloadOption",
    "announced_app",
    "found_app",
    "loaded_app",
]

#: As many as the replicas of a Deployment may be.
MAX_INSTANCES = 2**31 - 1
APP_HELP = (
    "The app: app.py, app.py:name, package.module:name (an App, or a function that returns one), app.yaml, or a folder "
    "with the host.json of Azure Functions."
)


class LogLevel(StrEnum):
    """The levels of --log-level."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


FOUND_APP_HELP = f"{APP_HELP.removesuffix('.')}. Default: the only app in the current folder."
AppArgument = Annotated[str, typer.Argument(metavar="APP", help=APP_HELP, show_default=False)]
OptionalAppArgument = Annotated[str | None, typer.Argument(metavar="APP", help=FOUND_APP_HELP, show_default=False)]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Settings file (YAML).", envvar="TRIGGERFISH_CONFIG"),
]


def _apply_env_file(context: typer.Context, file: Path | None) -> Path | None:
    """Set the variables of the file before options read the environment.

    A process of `up` has them from its parent, which may have left some out in favour of an option.
    """
    if not context.resilient_parsing and HEARTBEAT_VARIABLE not in os.environ:
        from triggerfish.env_file import apply_env_file

        apply_env_file(file)
    return file


EnvFileOption = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        metavar="FILE",
        help="File with variables, NAME=value in each line; those of the environment take precedence. Default: `.env` "
        "in the current folder, if it exists.",
        callback=_apply_env_file,
        is_eager=True,
        show_default=False,
    ),
]
ConnectionOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Default Redis: host:port,option=value or a redis:// URL. Put passwords into TRIGGERFISH_CONNECTION.",
    ),
]


def _log_level(value: str) -> LogLevel:
    try:
        return LogLevel(value.lower())
    except ValueError:
        levels = ", ".join(LogLevel)
        raise typer.BadParameter(
            f"{value!r} is no level. {did_you_mean(value, LogLevel)}Use one of {levels}."
        ) from None


LogLevelOption = Annotated[
    LogLevel,
    typer.Option(parser=_log_level, metavar="LEVEL", help="debug, info, warning or error.", envvar="TRIGGERFISH_LOG"),
]
LogFormatOption = Annotated[
    LogFormat, typer.Option(metavar="FORMAT", help="text or json.", envvar="TRIGGERFISH_LOG_FORMAT")
]
GrpcPortOption = Annotated[
    int | None, typer.Option(metavar="PORT", help="gRPC port for KEDA (default 6000; 0 picks a free port).")
]
HttpPortOption = Annotated[
    int | None, typer.Option(metavar="PORT", help="HTTP port for metrics and probes (0 picks a free port).")
]
MinInstancesOption = Annotated[
    int | None, typer.Option(min=0, max=MAX_INSTANCES, metavar="N", help="Lower bound for instances.")
]
MaxInstancesOption = Annotated[
    int | None, typer.Option(min=1, max=MAX_INSTANCES, metavar="N", help="Upper bound for instances.")
]
MetadataOption = Annotated[
    list[str] | None,
    typer.Option("--metadata", "-m", metavar="KEY=VALUE", help="Trigger metadata, as in a ScaledObject; repeatable."),
]
NamespaceOption = Annotated[str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Kubernetes namespace.")]
ReloadOption = Annotated[
    bool, typer.Option("--reload", help="For development: load the app again when its files change.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def found_app(command: str) -> str:
    """Return the only app in the current folder. Raises ConfigurationError, which shows how to name one."""
    from triggerfish.finding import find_app

    return find_app(Path.cwd(), command)


def announced_app(command: str) -> str:
    """Return the only app in the current folder, and print which one it is to the standard error output."""
    from triggerfish.cli.output import print_line, stderr

    reference = found_app(command)
    print_line(f"the app is {reference}", console=stderr())
    return reference


def loaded_app(reference: str, settings: "Settings | None" = None) -> "App":
    """Load the app for a command whose output is data: what the app's module prints goes to the standard error output.

    Call it outside an event loop, because the module may run one. A project of Azure Functions adds its connections to
    the settings. Raises ConfigurationError.
    """
    from triggerfish.apps import load

    with contextlib.redirect_stdout(sys.stderr):
        return load(reference, settings)
