"""`triggerfish up`: runs an app on this machine, with as many processes as its backlog needs."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listeners.runtime.extras import require_extra
from triggerfish.cli.options import (
    ConfigOption,
    ConnectionOption,
    EnvFileOption,
    GrpcPortOption,
    HttpPortOption,
    LogFormat,
    LogFormatOption,
    LogLevel,
    LogLevelOption,
    MaxInstancesOption,
    MinInstancesOption,
    OptionalAppArgument,
    ReloadOption,
)
from triggerfish.cli.output import stdout
from triggerfish.cli.serving import (
    instance_options,
    logged_app,
    pass_to_processes,
    reloaded_source,
    start_serving,
)
from triggerfish.settings import load_settings_with

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from listeners.functions.app import App
    from scaler.local_app import LocalApp
    from scaler.settings import Settings
    from triggerfish.reloading.reloader import Source

__all__ = ["show_while", "snapshot", "up"]

REFRESH_SECONDS = 0.25

CooldownOption = Annotated[
    float | None,
    typer.Option(min=0, max=86_400, metavar="SECONDS", help="Time without activity before the last process stops."),
]


def up(
    app: OptionalAppArgument = None,
    reload: ReloadOption = False,
    env_file: EnvFileOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
    min_instances: MinInstancesOption = None,
    max_instances: MaxInstancesOption = None,
    cooldown: CooldownOption = None,
    grpc_port: GrpcPortOption = None,
    http_port: HttpPortOption = None,
    log_level: LogLevelOption = LogLevel.INFO,
    log_format: LogFormatOption = LogFormat.TEXT,
) -> None:
    """Run an app on this machine, scaled to its backlog.

    Starts and stops processes as needed, and shows backlog and processes in a live table on a terminal. The scaler's
    gRPC and HTTP ports listen on 127.0.0.1.

    With --reload, the app is loaded again when its Python files, its declaration file, the settings file or the `.env`
    file change. Then its processes are replaced: the old ones finish their calls and end. If it cannot be loaded, the
    error is shown with its traceback, and the old ones go on. The ports and the bounds of the number of processes stay.
    """
    on_terminal = stdout().is_terminal
    start_serving(log_level, log_format)
    require_extra("scaler", "triggerfish up")
    from scaler.local_app import LocalApp
    from triggerfish.apps import load

    def load_settings() -> "Settings":
        settings = load_settings_with(
            config,
            connection,
            local={"min_instances": min_instances, "max_instances": max_instances, "cooldown_seconds": cooldown},
            scaler={"grpc_port": grpc_port, "http_port": http_port},
        )
        pass_to_processes(connection, log_level, log_format)
        return settings

    settings = load_settings()
    reference, options = app or logged_app("up"), instance_options(config)
    if reload:
        source = reloaded_source(reference, load_settings, env_file, config)
        asyncio.run(_run_reloaded(source, options, log_format, live=on_terminal))
    else:
        loaded = load(reference, settings)
        asyncio.run(_run(LocalApp(reference, loaded, settings, options, log_format), live=on_terminal))


async def _run_reloaded(source: "Source", options: list[str], log_format: LogFormat, *, live: bool) -> None:
    """Run an app once it can be loaded, and each changed app from then on."""
    from scaler.local.child_output import ChildOutput
    from scaler.local_app import LocalApp
    from triggerfish.reloading.reloader import Reloader

    running: asyncio.Future[LocalApp] = asyncio.get_running_loop().create_future()

    def use(app: "App", settings: "Settings") -> None:
        if running.done():
            running.result().replace(app, settings)
        else:
            running.set_result(LocalApp(source.reference, app, settings, options, log_format, reloaded=True))

    async def work() -> None:
        await _run(await running, live=live)

    await Reloader(source, ChildOutput(log_format)).run(use, work())


async def _run(local: "LocalApp", *, live: bool) -> None:
    if live:
        await show_while(local.run_until_signalled(), lambda: snapshot(local), stdout())
    else:
        await local.run_until_signalled()


def snapshot(local: "LocalApp") -> "RenderableType":
    """Return the current backlog and processes of an app."""
    from rich.console import Group
    from rich.text import Text

    from triggerfish.cli.output import causes, instances_line, trigger_table

    instances = local.instances
    line = instances_line(len(instances.running), len(instances.draining), local.autoscaler.target, instances.crashes)
    address = local.page_address
    page = [Text(f"status page: {address}", f"link {address}")] if address is not None else []
    statuses = list(local.statuses())
    return Group(trigger_table(statuses), *causes(statuses), line, *page)


async def show_while(
    work: Coroutine[Any, Any, None], render: "Callable[[], RenderableType]", console: "Console"
) -> None:
    """Show what `render` returns on the terminal, below what is logged and printed, until the work ends."""
    from rich.live import Live

    working = asyncio.create_task(work)
    to_terminal = sys.stderr.isatty()
    with Live(render(), console=console, auto_refresh=False, redirect_stderr=to_terminal) as live:
        while not working.done():
            await asyncio.wait([working], timeout=REFRESH_SECONDS)
            live.update(render(), refresh=True)
    await working
