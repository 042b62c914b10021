"""`triggerfish dead`: summarizes, lists, shows, requeues and purges dead letters."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from listeners.errors import ConfigurationError, SourceError
from listeners.text import did_you_mean
from triggerfish.cli.dead_output import (
    letter_as_json,
    letter_table,
    print_letter,
    summary_as_json,
    summary_table,
    totals_line,
)
from triggerfish.cli.options import (
    AppArgument,
    ConfigOption,
    ConnectionOption,
    EnvFileOption,
    JsonOption,
    OptionalAppArgument,
    announced_app,
    loaded_app,
)
from triggerfish.cli.output import error_line, print_json, print_line, stdout
from triggerfish.settings import load_settings_with

if TYPE_CHECKING:
    from listeners.connections.spec import ConnectionSpec
    from listeners.dead_letters.letters import DeadLetter, UnreadableLetter
    from listeners.dead_letters.store import DeadLetters, Summary
    from listeners.functions.triggers import ListTrigger, StreamTrigger
    from listeners.redis.entry_id import EntryId

    Letter = DeadLetter | UnreadableLetter

__all__ = ["dead"]

dead = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Summarize, list, show, requeue or purge dead letters.\n\n"
    "An entry becomes a dead letter if all its deliveries fail, its function rejects it, or it cannot be converted.",
)

FunctionArgument = Annotated[
    str, typer.Argument(metavar="FUNCTION", help="The function's name, as `check` shows it.", show_default=False)
]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="A dead letter, as `list` shows it.", show_default=False)]
IdsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Dead letters, as `list` shows them.", show_default=False)
]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters of the function that can be read.")]
KeyOption = Annotated[str | None, typer.Option(metavar="KEY", help="Only dead letters of this list or stream.")]
LimitOption = Annotated[int, typer.Option(min=1, max=1_000_000, metavar="N", help="List at most N, newest first.")]
BeforeOption = Annotated[str | None, typer.Option(metavar="ID", help="List only dead letters older than this one.")]
DEFAULT_LIMIT = 100


@dataclass(frozen=True)
class _Selection:
    """Whose dead letters: the trigger of a function, the Redis that it reads, and its keys or one of them."""

    function_name: str
    trigger: "ListTrigger | StreamTrigger"
    spec: "ConnectionSpec"
    keys: tuple[str, ...]


@dead.command()
def summary(
    app: OptionalAppArgument = None,
    json: JsonOption = False,
    env_file: EnvFileOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Count the dead letters of all functions, with their age and most frequent error.

    Errors of one class count together, and the newest of them is shown. Reads all dead letters.

    Exits with status 1 if the dead letters of a function could not be read.
    """
    found, problems = asyncio.run(_summaries(_all_selections(app or announced_app("dead summary"), config, connection)))
    if json:
        print_json({"functions": [summary_as_json(name, each) for name, each in found], "problems": problems})
    else:
        stdout().print(summary_table(found))
    for problem in problems:
        error_line(problem)
    if problems:
        raise typer.Exit(1)


@dead.command("list")
def list_letters(
    app: AppArgument,
    function: FunctionArgument,
    limit: LimitOption = DEFAULT_LIMIT,
    before: BeforeOption = None,
    key: KeyOption = None,
    json: JsonOption = False,
    env_file: EnvFileOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """List a function's dead letters, newest first."""

    selection = _selection(app, function, config, connection, key)

    async def read() -> "tuple[list[Letter], bool, dict[str, int]]":
        older_than = None if before is None else _parsed(before)
        async with _opened(selection) as letters:
            newest, more = await letters.newest(selection.keys, limit, older_than)
            return newest, more, {key: await letters.total(key) for key in selection.keys}

    letters, more, totals = asyncio.run(read())
    if json:
        counts = [{"key": key, "letters": total} for key, total in totals.items()]
        listed = [letter_as_json(letter) for letter in letters]
        print_json({"function": function, "keys": counts, "letters": listed, "more": more})
        return
    if not letters:
        print_line(f"{function} has no dead letters{f' older than {before}' if before else ''}")
        return
    stdout().print(letter_table(letters))
    print_line(totals_line(totals))
    if more:
        print_line(f"There are older ones: --before {letters[-1].id} lists the next, --limit more at once.")


@dead.command()
def show(
    app: AppArgument,
    function: FunctionArgument,
    letter_id: IdArgument,
    key: KeyOption = None,
    json: JsonOption = False,
    env_file: EnvFileOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Show one dead letter in full, with the traceback and the entry."""

    selection = _selection(app, function, config, connection, key)

    async def read() -> "Letter | None":
        async with _opened(selection) as letters:
            return await letters.find(*await _locate(letters, selection.keys, letter_id))

    letter = asyncio.run(read())
    if letter is None:
        raise _no_such_letter(letter_id)
    print_json(letter_as_json(letter, full=True)) if json else print_letter(letter)


@dead.command()
def requeue(
    app: AppArgument,
    function: FunctionArgument,
    ids: IdsArgument = None,
    everything: AllOption = False,
    key: KeyOption = None,
    json: JsonOption = False,
    env_file: EnvFileOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Put dead letters back into their list or stream.

    A stream gets a new entry for each, which every consumer group sees.
    """

    async def put_back(letters: "DeadLetters", letter: "Letter") -> bool:
        from listeners.dead_letters.letters import UnreadableLetter

        if isinstance(letter, UnreadableLetter) or not letters.can_requeue(letter):
            if everything:
                return False
            raise ConfigurationError("ID", letter.id, "It has no entry that the trigger can read. Purge it.")
        return await letters.requeue(letter)

    selection = _selection(app, function, config, connection, key)
    done = _for_each(selection, ids, put_back, everything=everything)
    print_json({"requeued": done}) if json else print_line(f"{len(done)} requeued")


@dead.command()
def purge(
    app: AppArgument,
    function: FunctionArgument,
    ids: IdsArgument = None,
    everything: AllOption = False,
    key: KeyOption = None,
    json: JsonOption = False,
    env_file: EnvFileOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Delete dead letters permanently."""
    from listeners.dead_letters.store import DeadLetters

    selection = _selection(app, function, config, connection, key)
    done = _for_each(selection, ids, DeadLetters.purge, everything=everything)
    print_json({"purged": done}) if json else print_line(f"{len(done)} purged")


async def _summaries(selections: "list[_Selection]") -> "tuple[list[tuple[str, Summary]], list[str]]":
    """Return each function's name and summary of each key, and a line for each function that could not be read."""
    found: list[tuple[str, Summary]] = []
    problems: list[str] = []
    for selection in selections:
        try:
            async with _opened(selection) as letters:
                found += [(selection.function_name, await letters.summary(key)) for key in selection.keys]
        except SourceError as error:
            problems.append(f"{selection.function_name}: {error}")
    return found, problems


def _for_each(
    selection: _Selection,
    ids: list[str] | None,
    action: "Callable[[DeadLetters, Letter], Awaitable[bool]]",
    *,
    everything: bool,
) -> list[str]:
    """Apply an action to the named dead letters, or to all, oldest first. Return the IDs for which it succeeded."""
    from listeners.dead_letters.letters import DeadLetter

    if bool(ids) == everything:
        raise ConfigurationError("ID", None, "Give one or more IDs, or --all, but not both.")

    async def work() -> list[str]:
        async with _opened(selection) as letters:
            # Located first: a requeued entry that fails again at once would be found again.
            chosen = [await _locate(letters, selection.keys, letter_id) for letter_id in ids or ()]
            for key in selection.keys if everything else ():
                listed = [letter.id async for letter in letters.newest_first(key) if isinstance(letter, DeadLetter)]
                chosen += [(key, _parsed(letter_id)) for letter_id in reversed(listed)]
            done: list[str] = []
            for key, letter_id in chosen:
                letter = await letters.find(key, letter_id)
                if letter is not None and await action(letters, letter):
                    done.append(letter.id)
            return done

    return asyncio.run(work())


async def _locate(letters: "DeadLetters", keys: tuple[str, ...], letter_id: str) -> "tuple[str, EntryId]":
    """Return the key and the parsed ID of a dead letter that exists."""
    parsed = _parsed(letter_id)
    found = [key for key in keys if await letters.find(key, parsed) is not None]
    if not found:
        raise _no_such_letter(letter_id)
    if len(found) > 1:
        raise ConfigurationError("ID", letter_id, f"Dead letters of {', '.join(found)} have it: choose with --key.")
    return found[0], parsed


def _no_such_letter(letter_id: str) -> ConfigurationError:
    return ConfigurationError("ID", letter_id, "The function has no such dead letter: see `dead list`.")


def _parsed(letter_id: str) -> "EntryId":
    from listeners.redis.entry_id import MAX_SEQUENCE, EntryId

    if not re.fullmatch(r"[0-9]{1,20}-[0-9]{1,20}", letter_id):
        raise ConfigurationError("ID", letter_id, "Give an ID as `dead list` shows it, such as 1764435600000-0.")
    parsed = EntryId.parse(letter_id.encode())
    if max(parsed) > MAX_SEQUENCE:
        raise _no_such_letter(letter_id)
    return parsed


@asynccontextmanager
async def _opened(selection: _Selection) -> "AsyncIterator[DeadLetters]":
    from listeners.dead_letters.store import DeadLetters
    from listeners.redis.client import Client

    client = Client(selection.spec, "triggerfish:dead")
    try:
        yield DeadLetters(client, selection.trigger, selection.function_name)
    finally:
        await client.aclose()


def _selection(
    app: str, function_name: str, config: Path | None, connection: str | None, key: str | None
) -> _Selection:
    """Find a function's trigger, its Redis and the keys that are meant. Raises ConfigurationError."""
    from listeners.functions.triggers import PubSubTrigger

    settings = load_settings_with(config, connection)
    functions = loaded_app(app, settings).functions
    if function_name not in functions:
        fix = f"{did_you_mean(function_name, functions)}The app has {', '.join(functions)}."
        raise ConfigurationError("FUNCTION", function_name, fix)
    trigger = functions[function_name].trigger
    if isinstance(trigger, PubSubTrigger):
        fix = "Pub/sub messages are not kept, so it has no dead letters."
        raise ConfigurationError("FUNCTION", function_name, fix)
    if key is not None and key not in trigger.keys:
        fix = f"{did_you_mean(key, trigger.keys)}The function reads {', '.join(trigger.keys)}."
        raise ConfigurationError("--key", key, fix)
    spec = settings.redis_connections().resolve_for(function_name, trigger)
    return _Selection(function_name, trigger, spec, trigger.keys if key is None else (key,))


def _all_selections(app: str, config: Path | None, connection: str | None) -> list[_Selection]:
    """Return the selection of each function that may have dead letters. Raises ConfigurationError."""
    from listeners.functions.triggers import PubSubTrigger

    names = [
        name for name, function in loaded_app(app).functions.items() if not isinstance(function.trigger, PubSubTrigger)
    ]
    return [_selection(app, name, config, connection, None) for name in names]
