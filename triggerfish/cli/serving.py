"""Sets up the commands that keep running."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from listeners.runtime.extras import require_extra
from listeners.runtime.logs import LogFormat, log_to_stderr, steady_logger
from listeners.runtime.signals import exit_on_termination
from triggerfish.cli.options import LogLevel, found_app
from triggerfish.env_file import DEFAULT_FILE, apply_env_file, variables_set

if TYPE_CHECKING:
    from scaler.settings import Settings
    from triggerfish.reloading.reloader import Source

__all__ = ["instance_options", "logged_app", "pass_to_processes", "reloaded_source", "start_serving"]

log = steady_logger("triggerfish")


def start_serving(
    log_level: LogLevel, log_format: LogFormat, instance: str | None = None, *, signalled_status: int = 0
) -> None:
    """Exit at a signal until the command handles it, log to the standard error output, and disable the `_created`
    series, which every counter would have. Call it before slow imports.

    `instance` is the name of this instance of an app, and `signalled_status` that of an exit at a signal.
    """
    exit_on_termination(signalled_status)
    from prometheus_client import disable_created_metrics

    disable_created_metrics()
    log_to_stderr(log_level, log_format, instance)
    if number := variables_set():
        log.info("%d variables come from the .env file", number)


def logged_app(command: str) -> str:
    """Return the only app in the current folder, and log which one it is."""
    reference = found_app(command)
    log.info("the app is %s", reference)
    return reference


def pass_to_processes(connection: str | None, log_level: LogLevel, log_format: LogFormat) -> None:
    """Put options into the environment of the processes that this one starts, whose command line would show a password.

    As an option, the connection replaces all of what the environment has of it.
    """
    os.environ |= {"TRIGGERFISH_LOG": log_level, "TRIGGERFISH_LOG_FORMAT": log_format}
    if connection is not None:
        for variable in [name for name in os.environ if name.upper().startswith("TRIGGERFISH_CONNECTION__")]:
            del os.environ[variable]
        os.environ["TRIGGERFISH_CONNECTION"] = connection


def instance_options(config: Path | None, http_port: int | None = None) -> list[str]:
    """Return the options of `triggerfish run` for the processes that this one starts."""
    given = {"--config": config, "--http-port": http_port}
    return [word for name, value in given.items() if value is not None for word in (name, str(value))]


def reloaded_source(
    reference: str, load_settings: "Callable[[], Settings]", env_file: Path | None, config: Path | None
) -> "Source":
    """Return what an app is loaded from again and again. `load_settings` may change the environment.

    Raises MissingExtraError.
    """
    require_extra("reload", "--reload")
    from triggerfish.reloading.reloader import Source

    def load() -> "Settings":
        apply_env_file(env_file)
        return load_settings()

    return Source(reference, load, [env_file or DEFAULT_FILE, *([config] if config is not None else [])])
