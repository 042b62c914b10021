"""`triggerfish run`: one instance of an app."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from listeners.errors import ConfigurationError, LifespanError
from listeners.host.instance import instance_name
from listeners.runtime.child_processes import inherited_heartbeat
from listeners.runtime.logs import steady_logger
from listeners.runtime.process_exit import exit_process
from triggerfish.cli.options import (
    ConfigOption,
    ConnectionOption,
    EnvFileOption,
    HttpPortOption,
    LogFormat,
    LogFormatOption,
    LogLevel,
    LogLevelOption,
    OptionalAppArgument,
    ReloadOption,
)
from triggerfish.cli.output import error_line
from triggerfish.cli.serving import (
    instance_options,
    logged_app,
    pass_to_processes,
    reloaded_source,
    start_serving,
)
from triggerfish.settings import load_settings_with

if TYPE_CHECKING:
    from listeners.connections.named import Connections
    from listeners.functions.app import App
    from listeners.host.host import Host
    from scaler.settings import Settings
    from triggerfish.reloading.reloader import Source
    from triggerfish.unfinished import Unfinished

__all__ = ["run"]

log = steady_logger("triggerfish.host")

#: The status of a process whose lifespan failed.
LIFESPAN_STATUS = 3
#: How often `--until-empty` measures while this process has nothing in progress.
EMPTY_PAUSE_SECONDS = 0.2


UntilEmptyOption = Annotated[
    bool, typer.Option("--until-empty", help="Exit with status 0 once nothing waits and nothing is in progress.")
]


def run(
    app: OptionalAppArgument = None,
    until_empty: UntilEmptyOption = False,
    reload: ReloadOption = False,
    env_file: EnvFileOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
    http_port: HttpPortOption = None,
    log_level: LogLevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run one instance of an app in this process.

    This is the command for containers. SIGTERM or Ctrl-C drains: running calls finish, then other entries are released.
    Another signal after a second exits at once.

    With --until-empty, it is a job for cron, CI or a Kubernetes Job: it ends once no entry waits for a call or for a
    retry, and none is in progress in any instance. While Redis cannot be measured, it goes on. A signal before that
    drains, and exits with status 1.

    With --reload, the app runs in a process of its own, and is loaded again when its Python files, its declaration
    file, the settings file or the `.env` file change. Then the process is replaced: the old one finishes its calls and
    ends. If the app cannot be loaded, the error is shown with its traceback, and the old one goes on.

    Exits with status 3 if the app's lifespan fails before that.
    """
    if reload and until_empty:
        raise ConfigurationError("--reload", None, "It waits for changes, and --until-empty ends. Give one of them.")
    instance, heartbeat = instance_name(), inherited_heartbeat()
    start_serving(log_level, log_format, None if reload else instance, signalled_status=int(until_empty))
    from listeners.host.host import Host
    from triggerfish.apps import load

    def load_settings() -> "Settings":
        settings = load_settings_with(config, connection, host={"http_port": http_port})
        if reload:
            pass_to_processes(connection, log_level, log_format)
        return settings

    settings = load_settings()
    reference = app or logged_app("run")
    if reload:
        source = reloaded_source(reference, load_settings, env_file, config)
        asyncio.run(_run_reloaded(source, instance_options(config, http_port), settings))
        return
    loaded, connections = load(reference, settings), settings.redis_connections()
    host = Host(loaded, connections, settings.host, instance=instance)
    unfinished = _unfinished(loaded, connections) if until_empty else None
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_run_and_exit(host, heartbeat, unfinished))


async def _run_reloaded(source: "Source", options: list[str], settings: "Settings") -> None:
    """Run an app in a process once it can be loaded, and each changed app from then on, until signalled."""
    from triggerfish.reloading.instance import ReloadedInstance
    from triggerfish.reloading.reloader import Reloader

    instance = ReloadedInstance(source.reference, options, settings)
    await Reloader(source, output=None).run(instance.use, instance.run_until_signalled())


def _unfinished(app: "App", connections: "Connections") -> "Unfinished":
    """Return what measures an app. Raises ConfigurationError for a function whose messages never end."""
    from listeners.functions.triggers import PubSubTrigger
    from triggerfish.unfinished import Unfinished

    for function in app.functions.values():
        if isinstance(function.trigger, PubSubTrigger):
            fix = "Pub/sub has no end. Move the function into another app, or run this one without --until-empty."
            raise ConfigurationError("--until-empty", function.name, fix)
    return Unfinished(app, connections)


def _loop_factory() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """Return uvloop's factory if it is installed: each command to Redis takes a third less time."""
    try:
        import uvloop
    except ImportError:  # Windows
        return None
    return uvloop.new_event_loop


async def _run_and_exit(host: "Host", heartbeat: int | None, unfinished: "Unfinished | None") -> NoReturn:
    """Run until signalled, or until nothing is left, then exit without waiting for functions that never return. Their
    entries were released.

    Otherwise asyncio would wait for coroutines that ignore their cancellation, and Python for threads.
    """
    status = 0
    try:
        if unfinished is None:
            await host.run_until_signalled(heartbeat)
        else:
            status = 0 if await _run_until_empty(host, heartbeat, unfinished) else 1
    except LifespanError as error:  # the log has the traceback
        error_line(f"triggerfish: the lifespan failed: {error}")
        status = LIFESPAN_STATUS
    exit_process(status)


async def _run_until_empty(host: "Host", heartbeat: int | None, unfinished: "Unfinished") -> bool:
    """Run until nothing is left, and drain. Return whether nothing is left: not after a signal."""
    running = asyncio.create_task(host.run_until_signalled(heartbeat, signalled_status=1))
    emptying = asyncio.create_task(unfinished.wait_until_empty(host, EMPTY_PAUSE_SECONDS))
    try:
        await asyncio.wait([running, emptying], return_when=asyncio.FIRST_COMPLETED)
        is_empty = emptying.done() and not emptying.cancelled()
        if is_empty:
            await emptying
            log.info("nothing is left: draining")
    finally:
        emptying.cancel()
        host.drain()
        await running
        await unfinished.close()
    return is_empty
