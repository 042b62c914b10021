"""Sets up the commands that keep running."""

import logging

from listeners.runtime.signals import exit_on_termination
from triggerfish.cli.options import LogLevel

__all__ = ["start_serving"]


def start_serving(log_level: LogLevel) -> None:
    """Exit at a signal until the command handles it, log to the standard error output, and disable the `_created`
    series, which every counter would have. Call it before slow imports.
    """
    exit_on_termination()
    from prometheus_client import disable_created_metrics

    disable_created_metrics()
    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
