"""The program `triggerfish`: its commands, and its exit statuses."""

import sys
from typing import Annotated, NoReturn

import typer

from listeners.errors import SourceError, TriggerfishError
from triggerfish.cli.check import check
from triggerfish.cli.dead import dead
from triggerfish.cli.explain import explain
from triggerfish.cli.manifest import manifest
from triggerfish.cli.output import error_line, escape_unencodable
from triggerfish.cli.probe import probe
from triggerfish.cli.run import run
from triggerfish.cli.scaler import scaler
from triggerfish.cli.up import up

__all__ = ["program", "run_program"]

RUN_PANEL = "Run functions"
SCALE_PANEL = "Scale functions"

program = typer.Typer(
    name="triggerfish",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from listeners.version import __version__

        typer.echo(__version__)
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
]


@program.callback()
def _root(version: VersionOption = False) -> None:
    """Python functions triggered by Redis lists, streams and pub/sub, scaled by their backlog.

    On one machine, `triggerfish up app.py` runs an app with as many processes as its backlog needs, and with `--reload`
    loads it again when its files change. On Kubernetes, `run` is the container's command, `scaler` answers KEDA, and
    `manifest` writes what both need.

    Settings come from options, then from the environment (`TRIGGERFISH_CONNECTION`, `TRIGGERFISH_HOST__LEASE_SECONDS`,
    ...) and a `.env` file, then from a YAML file.
    """


program.command(rich_help_panel=RUN_PANEL)(up)
program.command(rich_help_panel=RUN_PANEL)(run)
program.command(rich_help_panel=RUN_PANEL)(check)
program.add_typer(dead, name="dead", rich_help_panel=RUN_PANEL)
program.command(rich_help_panel=SCALE_PANEL)(scaler)
program.command(rich_help_panel=SCALE_PANEL)(explain)
program.command(rich_help_panel=SCALE_PANEL)(probe)
program.command(rich_help_panel=SCALE_PANEL)(manifest)


def run_program() -> NoReturn:
    """Run a command. A TriggerfishError is printed as one line; the exit status is 1 for a SourceError, otherwise 2."""
    escape_unencodable()
    try:
        program()
    except TriggerfishError as error:
        error_line(f"triggerfish: {error}")
        sys.exit(1 if isinstance(error, SourceError) else 2)
    sys.exit(0)
