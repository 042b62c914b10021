"""`triggerfish up`: runs an app on this machine, with as many processes as its backlog needs."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from listeners.runtime.extras import require_extra
from triggerfish.cli.options import (
    AppArgument,
    ConfigOption,
    ConnectionOption,
    GrpcPortOption,
    HttpPortOption,
    LogFormat,
    LogFormatOption,
    LogLevel,
    LogLevelOption,
    MaxInstancesOption,
    MinInstancesOption,
    load_settings_with,
)
from triggerfish.cli.output import stdout
from triggerfish.cli.serving import start_serving

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from scaler.local_app import LocalApp

__all__ = ["show_while", "snapshot", "up"]

REFRESH_SECONDS = 0.25

CooldownOption = Annotated[
    float | None,
    typer.Option(min=0, max=86_400, metavar="SECONDS", help="Time without activity before the last process stops."),
]


def up(
    app: AppArgument,
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
    """
    on_terminal = stdout().is_terminal
    start_serving(log_level, log_format)
    require_extra("scaler", "triggerfish up")
    from scaler.local_app import LocalApp
    from triggerfish.apps import load

    settings = load_settings_with(
        config,
        connection,
        local={"min_instances": min_instances, "max_instances": max_instances, "cooldown_seconds": cooldown},
        scaler={"grpc_port": grpc_port, "http_port": http_port},
    )
    os.environ |= {"TRIGGERFISH_LOG": log_level, "TRIGGERFISH_LOG_FORMAT": log_format}  # for the processes
    if connection is not None:
        # For the processes, whose command line would show a password. As a flag, it replaces all of the connection.
        for variable in [name for name in os.environ if name.upper().startswith("TRIGGERFISH_CONNECTION__")]:
            del os.environ[variable]
        os.environ["TRIGGERFISH_CONNECTION"] = connection
    asyncio.run(_run(LocalApp(app, load(app, settings), settings, config, log_format), live=on_terminal))


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
