"""`triggerfish dead`: dead letters, and what to do with them."""

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
from listeners.text import did_you_mean
from triggerfish.cli.options import AppArgument, ConfigOption, ConnectionOption, JsonOption, load_settings_with
from triggerfish.cli.output import print_json, print_line, stdout

if TYPE_CHECKING:
    from listeners.dead_letters.letters import DeadLetter, DeadLetters

__all__ = ["dead"]

dead = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="List, show, requeue or purge dead letters.\n\n"
    "An entry becomes a dead letter when its function failed too often, rejected it, or could not read it.",
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
class _Where:
    """Whose dead letters: a function of an app, with its settings."""

    app: str
    function_name: str
    config: Path | None
    connection: str | None


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
    letters, more = asyncio.run(_first_letters(_Where(app, function, config, connection), limit))
    if json:
        print_json({"function": function, "letters": [_as_json(letter) for letter in letters], "more": more})
        return
    if more:
        print_line(f"the oldest {limit}; more with --limit")
    table = Table("id", "when", "key", "deliveries", "error", box=None, header_style="bold", pad_edge=False)
    for letter in letters:
        table.add_row(letter.id, _when(letter), letter.entry.key, str(letter.entry.deliveries), letter.error)
    stdout().print(table if letters else f"{function} has no dead letters", markup=False)


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
            stdout().print(f"{name + ':':<11} {value}", markup=False, highlight=False, soft_wrap=True)
        return True

    _for_each(_Where(app, function, config, connection), [letter_id], print_letter, everything=False)


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

    where = _Where(app, function, config, connection)
    done = _for_each(where, ids, DeadLetters.requeue, everything=everything)
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
    """Delete dead letters for good."""
    from listeners.dead_letters.letters import DeadLetters

    where = _Where(app, function, config, connection)
    done = _for_each(where, ids, DeadLetters.purge, everything=everything)
    print_json({"purged": done}) if json else print_line(f"{len(done)} purged")


async def _first_letters(where: _Where, limit: int) -> "tuple[list[DeadLetter], bool]":
    """The oldest letters, and whether there are more."""
    found: list[DeadLetter] = []
    async with _dead_letters(where) as letters:
        async for letter in letters.letters():
            if len(found) == limit:
                return found, True
            found.append(letter)
    return found, False


def _for_each(
    where: _Where,
    ids: list[str] | None,
    action: "Callable[[DeadLetters, DeadLetter], Awaitable[bool]]",
    *,
    everything: bool,
) -> list[str]:
    """Act on the named dead letters, or on all there are now. Returns the IDs of those it worked for."""
    if bool(ids) == everything:
        raise ConfigurationError("ID", None, "Name one dead letter or more, or give --all, not both.")

    async def work() -> list[str]:
        async with _dead_letters(where) as letters:
            # Collected first: a requeued entry that fails again at once would be found again.
            chosen = [letter async for letter in letters.letters() if everything or letter.id in (ids or ())]
            missing = sorted(set(ids or ()) - {letter.id for letter in chosen})
            if missing:
                fix = f"{where.function_name} has no such dead letter: see `dead list`."
                raise ConfigurationError("ID", missing[0], fix)
            return [letter.id for letter in chosen if await action(letters, letter)]

    return asyncio.run(work())


@asynccontextmanager
async def _dead_letters(where: _Where) -> "AsyncIterator[DeadLetters]":
    from listeners.dead_letters.letters import DeadLetters
    from listeners.functions.loading import load_app
    from listeners.functions.triggers import PubSubTrigger
    from listeners.redis.client import Client

    settings = load_settings_with(where.config, where.connection)
    functions = load_app(where.app).functions
    if where.function_name not in functions:
        fix = f"{did_you_mean(where.function_name, functions)}The app has {', '.join(functions)}."
        raise ConfigurationError("FUNCTION", where.function_name, fix)
    trigger = functions[where.function_name].trigger
    if isinstance(trigger, PubSubTrigger):
        fix = "Pub/sub messages are not kept, so it has no dead letters."
        raise ConfigurationError("FUNCTION", where.function_name, fix)
    client = Client(settings.redis_connections().resolve(trigger), "triggerfish:dead")
    try:
        yield DeadLetters(client, trigger, where.function_name)
    finally:
        await client.aclose()


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
