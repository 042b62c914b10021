"""The command line: `triggerfish`."""

import asyncio
import logging
import os
import sys
from typing import Annotated, NoReturn

import typer
import uvloop
from prometheus_client import disable_created_metrics
from rich.console import Console

from listeners.checks.check import acl_commands
from listeners.checks.check import check as check_app
from listeners.errors import ConfigurationError, SourceError, TriggerfishError
from listeners.functions.app import App
from listeners.functions.loading import load_app
from listeners.host.host import Host
from listeners.text import printable
from listeners.version import __version__
from scaler.settings import Settings
from scaler.triggers.scaled_objects import metadata_from
from triggerfish.cli.dead import dead
from triggerfish.cli.manifest import HELP as MANIFEST_HELP
from triggerfish.cli.manifest import manifest
from triggerfish.cli.options import (
    AppArgument,
    ConfigOption,
    ConnectionOption,
    GrpcPortOption,
    HttpPortOption,
    LogOption,
    MetadataOption,
    OptionalAppArgument,
    settings_from,
)
from triggerfish.cli.probe import HELP as PROBE_HELP
from triggerfish.cli.probe import probe
from triggerfish.cli.tables import console_for_tables, trigger_table

__all__ = ["main"]

cli = typer.Typer(
    name="triggerfish",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Python functions triggered by Redis lists, streams and pub/sub, scaled by what is waiting.\n\n"
    "On one machine, [bold]triggerfish up app.py[/bold] is all: it runs as many processes as the backlog asks for. "
    "On Kubernetes, [bold]run[/bold] is the container's command, [bold]scaler[/bold] answers KEDA, and "
    "[bold]manifest[/bold] writes what both need. "
    "[bold]check[/bold], [bold]explain[/bold] and [bold]probe[/bold] look, and change nothing.\n\n"
    "Settings come from flags, from the environment (TRIGGERFISH_CONNECTION, TRIGGERFISH_HOST__LEASE_SECONDS, ...) "
    "and from a YAML file, in this order.",
)


cli.add_typer(dead, name="dead")


cli.command(help=PROBE_HELP)(probe)


cli.command(help=MANIFEST_HELP)(manifest)


console = console_for_tables()


errors = Console(stderr=True)


MAX_LINE = 500


@cli.command()
def run(
    app: AppArgument,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
    http_port: HttpPortOption = None,
    log_level: LogOption = "info",
) -> None:
    """Run an app's functions in this process.

    SIGTERM or Ctrl-C once: finish what is in hand, hand the rest back, end. Twice: end now.
    """
    _start_log(log_level)
    settings = settings_from(config, connection, host={"http_port": http_port})
    host = Host(load_app(app), settings.redis_connections(), settings.host)
    uvloop.run(_run_and_leave(host))


@cli.command()
def scaler(
    config: ConfigOption = None,
    connection: ConnectionOption = None,
    grpc_port: GrpcPortOption = None,
    http_port: HttpPortOption = None,
    log_level: LogOption = "info",
) -> None:
    """Run the scale controller: gRPC for KEDA, HTTP for Prometheus and people."""
    from scaler.server import ScalerServer  # noqa: PLC0415  (grpc is not needed to run functions)

    _start_log(log_level)
    settings = settings_from(config, connection, scaler={"grpc_port": grpc_port, "http_port": http_port})
    asyncio.run(ScalerServer(settings).run_until_signalled())


@cli.command()
def up(
    app: AppArgument,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
    min_instances: Annotated[int | None, typer.Option(min=0, help="Never fewer processes.")] = None,
    max_instances: Annotated[int | None, typer.Option(min=1, help="Never more processes.")] = None,
    cooldown: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Time without activity before the last one stops.")
    ] = None,
    grpc_port: GrpcPortOption = None,
    http_port: HttpPortOption = None,
    log_level: LogOption = "info",
) -> None:
    """Run an app on this machine, with as many processes as its backlog asks for.

    The scaler's gRPC and HTTP ports serve on 127.0.0.1 too. On a terminal a live table shows what waits and what runs.
    """
    from triggerfish.cli.up import run_up  # noqa: PLC0415

    _start_log("warning" if console.is_terminal else log_level)
    local = {"min_instances": min_instances, "max_instances": max_instances, "cooldown_seconds": cooldown}
    ports = {"grpc_port": grpc_port, "http_port": http_port}
    settings = settings_from(config, connection, local=local, scaler=ports)
    if connection is not None:
        os.environ["TRIGGERFISH_CONNECTION"] = connection  # for the instances; a command line would show it
    asyncio.run(run_up(app, load_app(app), settings, config, console))


@cli.command()
def check(
    app: AppArgument,
    acl: Annotated[
        bool, typer.Option("--acl", help="Print the ACL SETUSER command that the app's user needs, and nothing else.")
    ] = False,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Load an app, reach its Redis, and say how each trigger will be read and what may go wrong. Changes nothing.

    Ends with code 1 if a trigger cannot be read, as when its user may not run a command that it needs. Warns of
    settings that may lose entries: eviction, no persistence.
    """
    settings = settings_from(config, connection)
    if acl:
        asyncio.run(_print_acl(load_app(app), settings))
    elif not asyncio.run(_check(load_app(app), settings)):
        raise typer.Exit(1)


@cli.command()
def explain(
    app: OptionalAppArgument = None,
    scaler_url: Annotated[
        str | None,
        typer.Option("--scaler", metavar="URL", help="A scaler that runs, by its HTTP address: http://host:8080."),
    ] = None,
    metadata: MetadataOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Show, for each trigger, what waits in Redis and the target that follows from it. Changes nothing.

    The triggers are those of an app; or the one of a ScaledObject, given as its --metadata; or all that a scaler is
    asked about (--scaler, which says what it measured last).

    Ends with code 1 if a trigger is not known.
    """
    from triggerfish.cli.explain import explain_app, explain_metadata, explain_scaler  # noqa: PLC0415  (aiohttp is slow to import)

    if sum((app is not None, scaler_url is not None, bool(metadata))) != 1:
        raise ConfigurationError("explain", None, "Say what to explain: an app, --scaler URL, or --metadata KEY=VALUE.")
    if scaler_url is not None:
        work = explain_scaler(scaler_url)
    elif metadata:
        work = explain_metadata(metadata_from(metadata), settings_from(config, connection))
    else:
        work = explain_app(load_app(str(app)), settings_from(config, connection))
    explained = asyncio.run(work)
    for problem in explained.problems:
        errors.print(printable(problem, MAX_LINE), style="red", markup=False, highlight=False, soft_wrap=True)
    if explained.triggers:
        console.print(trigger_table(explained.triggers))
    elif scaler_url is not None and not explained.problems:
        console.print("Nothing asks this scaler yet: point a ScaledObject at it, or declare triggers in its settings.")
    if explained.problems:
        raise typer.Exit(1)


@cli.command()
def version() -> None:
    """Show the version."""
    console.print(__version__)


def main() -> NoReturn:
    """Run the command line. A user's mistake is one line and exit code 2, trouble with Redis one line and 1."""
    disable_created_metrics()  # a second series for each counter, which says when it began
    try:
        cli()
    except TriggerfishError as error:
        line = " ".join(str(error).split())  # what a user's module raised may have several
        errors.print(f"triggerfish: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1 if isinstance(error, SourceError) else 2)
    sys.exit(0)


async def _run_and_leave(host: Host) -> NoReturn:
    """Run until signalled, then end the process without waiting for functions that never end.

    Their entries were handed back. Left to itself, asyncio would wait for coroutines that ignore their cancellation,
    and Python for threads.
    """
    await host.run_until_signalled()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


async def _check(app: App, settings: Settings) -> bool:
    works = True
    async for finding in check_app(app, settings.redis_connections(), settings.host):
        mark = "[green]ok  [/green]" if finding.works else "[red]FAIL[/red]"
        console.print(mark, end=" ")
        text = f"{finding.function}: {finding.reads} on {finding.address}: {finding.line}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
        for warning in finding.warnings:
            console.print("[yellow]warn[/yellow]", end=" ")
            console.print(warning, markup=False, highlight=False, soft_wrap=True)
        works = works and finding.works
    return works


async def _print_acl(app: App, settings: Settings) -> None:
    async for address, line in acl_commands(app, settings.redis_connections()):
        errors.print(f"for the Redis at {address}:", markup=False, highlight=False, soft_wrap=True)
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _start_log(level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise typer.BadParameter(
            f"{level!r} is not a level: use debug, info, warning or error", param_hint="--log-level"
        )
    logging.basicConfig(level=number, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
