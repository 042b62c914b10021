"""`triggerfish dead`: what was given up on, and what to do with it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from listeners.dead_letters.letters import DeadLetter, DeadLetters
from listeners.errors import ConfigurationError
from listeners.functions.loading import load_app
from listeners.functions.triggers import PubSubTrigger
from listeners.redis.client import Client
from triggerfish.cli.options import AppArgument, ConfigOption, ConnectionOption, settings_from
from triggerfish.cli.tables import console_for_tables

__all__ = ["dead"]

dead = typer.Typer(
    no_args_is_help=True,
    help="Entries that were given up on: list them, look at one, put them back, purge them.\n\n"
    "An entry gets there when its function failed too often, rejected it, or could not read it.",
)


console = console_for_tables()


FunctionArgument = Annotated[str, typer.Argument(metavar="FUNCTION", help="The function's name, as `check` shows it.")]


IdArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Dead letters, as `list` shows them.")]


AllOption = Annotated[bool, typer.Option("--all", help="All dead letters of the function.")]


LIST_LIMIT = 100


@dead.command("list")
def list_letters(
    app: AppArgument,
    function: FunctionArgument,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the oldest first.")] = LIST_LIMIT,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """List a function's dead letters."""

    async def work() -> None:
        table = Table("id", "when", "key", "deliveries", "error", box=None, header_style="bold", pad_edge=False)
        shown = 0
        async with _letters(app, function, config, connection) as letters:
            async for letter in letters.letters():
                if shown == limit:
                    console.print(f"the oldest {limit}; more with --limit")
                    break
                table.add_row(letter.id, _when(letter), letter.entry.key, str(letter.entry.deliveries), letter.error)
                shown += 1
        console.print(table if shown else f"{function} has no dead letters", markup=False)

    asyncio.run(work())


@dead.command()
def show(
    app: AppArgument,
    function: FunctionArgument,
    letter_id: Annotated[str, typer.Argument(metavar="ID")],
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Show one dead letter whole."""

    async def look(_: DeadLetters, letter: DeadLetter) -> bool:
        plain = Console(highlight=False, markup=False, soft_wrap=True)
        plain.print(
            f"when:       {_when(letter)}\nkey:        {letter.entry.key}\nid:         {letter.entry.id or '-'}"
        )
        plain.print(f"deliveries: {letter.entry.deliveries}\nerror:      {letter.error}")
        plain.print(f"raised at:  {letter.where or '-'}")
        plain.print(f"entry:      {letter.entry.body().decode(errors='backslashreplace')}")
        return True

    _for_each(app, function, [letter_id], False, config, connection, look)


@dead.command()
def requeue(
    app: AppArgument,
    function: FunctionArgument,
    ids: IdArgument = None,
    everything: AllOption = False,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Put dead letters back into their list or stream, to be handled anew.

    In a stream an entry put back is a new one, which every consumer group sees.
    """
    number = _for_each(app, function, ids, everything, config, connection, DeadLetters.requeue)
    console.print(f"{number} put back")


@dead.command()
def purge(
    app: AppArgument,
    function: FunctionArgument,
    ids: IdArgument = None,
    everything: AllOption = False,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Remove dead letters for good."""
    number = _for_each(app, function, ids, everything, config, connection, DeadLetters.purge)
    console.print(f"{number} purged")


def _for_each(
    app: str,
    function: str,
    ids: list[str] | None,
    everything: bool,
    config: ConfigOption,
    connection: str | None,
    action: Callable[[DeadLetters, DeadLetter], Awaitable[bool]],
) -> int:
    """Act on the dead letters that were named, or on all there are now; how many it was done for."""
    if bool(ids) == everything:
        raise ConfigurationError("ID", None, "Name one dead letter or more, or give --all, not both.")

    async def work() -> int:
        async with _letters(app, function, config, connection) as letters:
            # Collected first: acting while reading would meet those that fail again at once.
            chosen = [letter async for letter in letters.letters() if everything or letter.id in (ids or ())]
            missing = sorted(set(ids or ()) - {letter.id for letter in chosen})
            if missing:
                raise ConfigurationError("ID", missing[0], f"{function} has no such dead letter: see `dead list`.")
            return sum([await action(letters, letter) for letter in chosen])

    return asyncio.run(work())


@asynccontextmanager
async def _letters(app: str, function: str, config: ConfigOption, connection: str | None) -> AsyncIterator[DeadLetters]:
    settings = settings_from(config, connection)
    functions = load_app(app).functions
    if function not in functions:
        raise ConfigurationError("FUNCTION", function, f"The app has {', '.join(functions)}.")
    trigger = functions[function].trigger
    if isinstance(trigger, PubSubTrigger):
        raise ConfigurationError("FUNCTION", function, "Pub/sub messages are not kept, so it has no dead letters.")
    client = Client(settings.redis_connections().resolve(trigger), "triggerfish:dead")
    try:
        yield DeadLetters(client, trigger, function)
    finally:
        await client.aclose()


def _when(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
