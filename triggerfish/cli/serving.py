"""Sets up the commands that keep running."""

from listeners.runtime.logs import LogFormat, log_to_stderr
from listeners.runtime.signals import exit_on_termination
from triggerfish.cli.options import LogLevel

__all__ = ["start_serving"]


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
