"""What the commands that keep running do first."""

from listeners.runtime.logs import LogFormat, log_to_stderr
from triggerfish.cli.options import LogLevel

__all__ = ["start_serving"]


def start_serving(log_level: LogLevel, log_format: LogFormat, instance: str | None = None) -> None:
    """Log to the standard error output, and leave out the metrics' `_created` series, one for each counter.

    `instance` is the name of this instance of an app.
    """
    from prometheus_client import disable_created_metrics

    disable_created_metrics()
    log_to_stderr(log_level, log_format, instance)
