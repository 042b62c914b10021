"""`triggerfish run`: one instance of an app."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from listeners.errors import LifespanError
from listeners.host.instance import instance_name
from listeners.runtime.child_processes import inherited_heartbeat
from listeners.runtime.process_exit import exit_process
from triggerfish.cli.options import (
    AppArgument,
    ConfigOption,
    ConnectionOption,
    HttpPortOption,
    LogFormat,
    LogFormatOption,
    LogLevel,
    LogLevelOption,
    load_settings_with,
)
from triggerfish.cli.output import error_line
from triggerfish.cli.serving import start_serving

if TYPE_CHECKING:
    from listeners.host.host import Host

__all__ = ["run"]

LIFESPAN_STATUS = 3


def run(
    app: AppArgument,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
    http_port: HttpPortOption = None,
    log_level: LogLevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run one instance of an app in this process.

    This is the command for containers. SIGTERM or Ctrl-C drains: running calls finish, then other entries are released.
    Another signal after a second exits at once.

    Exits with status 3 if the app's lifespan fails before that.
    """
    instance, heartbeat = instance_name(), inherited_heartbeat()
    start_serving(log_level, log_format, instance)
    from listeners.functions.loading import load_app
    from listeners.host.host import Host

    settings = load_settings_with(config, connection, host={"http_port": http_port})
    host = Host(load_app(app), settings.redis_connections(), settings.host, instance=instance)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run_and_exit(host, heartbeat))


def _loop_factory() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """Return uvloop's factory if it is installed: each command to Redis takes a third less time."""
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


async def _run_and_exit(host: "Host", heartbeat: int | None) -> NoReturn:
    """Run until signalled, then exit without waiting for functions that never return. Their entries were released.

    Otherwise asyncio would wait for coroutines that ignore their cancellation, and Python for threads.
    """
    try:
        await host.run_until_signalled(heartbeat)
    except LifespanError as error:  # the log has the traceback
        error_line(f"triggerfish: the lifespan failed: {error}")
        exit_process(LIFESPAN_STATUS)
    exit_process(0)
