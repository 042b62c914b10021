"""`triggerfish dead`: lists, shows, requeues and purges dead letters."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from listeners.errors import ConfigurationError
from listeners.text import did_you_mean, escape
from triggerfish.cli.options import (
    AppArgument,
    ConfigOption,
    ConnectionOption,
    JsonOption,
    load_settings_with,
    loaded_app,
)
from triggerfish.cli.output import print_json, print_line, stdout

if TYPE_CHECKING:
    from listeners.connections.spec import ConnectionSpec
    from listeners.dead_letters.letters import DeadLetter, DeadLetters
    from listeners.functions.triggers import ListTrigger, StreamTrigger

__all__ = ["dead"]

dead = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="List, show, requeue or purge dead letters.\n\n"
    "An entry becomes a dead letter if all its deliveries fail, its function rejects it, or it cannot be converted.",
)

FunctionArgument = Annotated[
    str, typer.Argument(metavar="FUNCTION", help="The function's name, as `check` shows it.", show_default=False)
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A dead letter, as `list` shows it.", show_default=False)]
IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Dead letters, as `list` shows them.", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters of the function.")]
LimitOption = Annotated[int, typer.Option(min=1, metavar="N", help="List at most N, oldest first.")]
DEFAULT_LIMIT = 100


@dataclass(frozen=True)
class _Selection:
    """Whose dead letters: the trigger of a function, and the Redis that it reads."""

    function_name: str
    trigger: "ListTrigger | StreamTrigger"
    spec: "ConnectionSpec"


@dead.command("list")
def list_letters(
    app: AppArgument,
    function: FunctionArgument,
    limit: LimitOption = DEFAULT_LIMIT,
    json: JsonOption = False,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """List a function's dead letters."""
    letters, more = asyncio.run(_first_letters(_selection(app, function, config, connection), limit))
    if json:
        print_json({"function": function, "letters": [_as_json(letter) for letter in letters], "more": more})
        return
    if more:
        print_line(f"the oldest {limit}; more with --limit")
    if not letters:
        print_line(f"{function} has no dead letters")
        return
    table = Table("id", "when", "key", "deliveries", "error", box=None, header_style="bold", pad_edge=False)
    for letter in letters:
        cells = (letter.id, _when(letter), letter.entry.key, str(letter.entry.deliveries), letter.error)
        table.add_row(*(escape(cell) for cell in cells))
    stdout().print(table)


@dead.command()
def show(
    app: AppArgument,
    function: FunctionArgument,
    letter_id: IdArgument,
    json: JsonOption = False,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Show one dead letter in full."""

    async def print_letter(_: "DeadLetters", letter: "DeadLetter") -> bool:
        if json:
            print_json({**_as_json(letter), "entry": _entry_text(letter)})
            return True
        for name, value in (
            ("when", _when(letter)),
            ("key", letter.entry.key),
            ("id", letter.entry.id or "-"),
            ("deliveries", str(letter.entry.deliveries)),
            ("error", letter.error),
            ("raised at", letter.where or "-"),
            ("entry", _entry_text(letter)),
        ):
            print_line(f"{name + ':':<11} {value}")
        return True

    _for_each(_selection(app, function, config, connection), [letter_id], print_letter, everything=False)


@dead.command()
def requeue(
    app: AppArgument,
    function: FunctionArgument,
    ids: IdsArgument = None,
    everything: AllOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Put dead letters back into their list or stream.

    A stream gets a new entry for each, which every consumer group sees.
    """
    from listeners.dead_letters.letters import DeadLetters

    selection = _selection(app, function, config, connection)
    done = _for_each(selection, ids, DeadLetters.requeue, everything=everything)
    print_json({"requeued": done}) if json else print_line(f"{len(done)} requeued")


@dead.command()
def purge(
    app: AppArgument,
    function: FunctionArgument,
    ids: IdsArgument = None,
    everything: AllOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Delete dead letters permanently."""
    from listeners.dead_letters.letters import DeadLetters

    selection = _selection(app, function, config, connection)
    done = _for_each(selection, ids, DeadLetters.purge, everything=everything)
    print_json({"purged": done}) if json else print_line(f"{len(done)} purged")


async def _first_letters(selection: _Selection, limit: int) -> "tuple[list[DeadLetter], bool]":
    """Return the oldest letters, and whether there are more."""
    found: list[DeadLetter] = []
    async with _dead_letters(selection) as letters:
        async for letter in letters.letters():
            if len(found) == limit:
                return found, True
            found.append(letter)
    return found, False


def _for_each(
    selection: _Selection,
    ids: list[str] | None,
    action: "Callable[[DeadLetters, DeadLetter], Awaitable[bool]]",
    *,
    everything: bool,
) -> list[str]:
    """Apply an action to the named dead letters, or to all. Return the IDs for which it succeeded."""
    if bool(ids) == everything:
        raise ConfigurationError("ID", None, "Give one or more IDs, or --all, but not both.")

    async def work() -> list[str]:
        async with _dead_letters(selection) as letters:
            # Collected first: a requeued entry that fails again at once would be found again.
            chosen = [letter async for letter in letters.letters() if everything or letter.id in (ids or ())]
            missing = sorted(set(ids or ()) - {letter.id for letter in chosen})
            if missing:
                fix = f"{selection.function_name} has no such dead letter. `triggerfish dead list` shows all."
                raise ConfigurationError("ID", missing[0], fix)
            return [letter.id for letter in chosen if await action(letters, letter)]

    return asyncio.run(work())


@asynccontextmanager
async def _dead_letters(selection: _Selection) -> "AsyncIterator[DeadLetters]":
    from listeners.dead_letters.letters import DeadLetters
    from listeners.redis.client import Client

    client = Client(selection.spec, "triggerfish:dead")
    try:
        yield DeadLetters(client, selection.trigger, selection.function_name)
    finally:
        await client.aclose()


def _selection(app: str, function_name: str, config: Path | None, connection: str | None) -> _Selection:
    """Find a function's trigger and its Redis. Raises ConfigurationError."""
    from listeners.functions.triggers import PubSubTrigger

    settings = load_settings_with(config, connection)
    functions = loaded_app(app).functions
    if function_name not in functions:
        fix = f"{did_you_mean(function_name, functions)}The app has {', '.join(functions)}."
        raise ConfigurationError("FUNCTION", function_name, fix)
    trigger = functions[function_name].trigger
    if isinstance(trigger, PubSubTrigger):
        fix = "Pub/sub messages are not kept, so it has no dead letters."
        raise ConfigurationError("FUNCTION", function_name, fix)
    return _Selection(function_name, trigger, settings.redis_connections().resolve(trigger))


def _as_json(letter: "DeadLetter") -> dict[str, Any]:
    return {
        "id": letter.id,
        "timeMs": letter.time_ms,
        "key": letter.entry.key,
        "entryId": letter.entry.id,
        "deliveries": letter.entry.deliveries,
        "error": letter.error,
        "where": letter.where,
    }


def _entry_text(letter: "DeadLetter") -> str:
    return letter.entry.body().decode(errors="backslashreplace")


def _when(letter: "DeadLetter") -> str:
    return datetime.fromtimestamp(letter.time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
