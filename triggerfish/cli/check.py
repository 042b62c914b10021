"""`triggerfish check`: checks that an app's triggers can be read."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from listeners.errors import ConfigurationError
from triggerfish.cli.options import (
    ConfigOption,
    ConnectionOption,
    EnvFileOption,
    JsonOption,
    MetadataOption,
    OptionalAppArgument,
    announced_app,
    loaded_app,
)
from triggerfish.cli.output import print_json, print_line, print_verbatim, stderr
from triggerfish.settings import load_settings_with

if TYPE_CHECKING:
    from listeners.checks.check import CheckResult
    from listeners.functions.app import App
    from scaler.settings import Settings

__all__ = ["check"]

AclOption = Annotated[bool, typer.Option("--acl", help="Print only the ACL SETUSER command that the app's user needs.")]

NoWriteOption = Annotated[bool, typer.Option("--no-write", help="Only look, and change nothing.")]


def check(
    app: OptionalAppArgument = None,
    metadata: MetadataOption = None,
    acl: AclOption = False,
    no_write: NoWriteOption = False,
    json: JsonOption = False,
    env_file: EnvFileOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Check that an app's triggers can be read, or with --metadata that the scaler can measure one.

    Loads the app, connects to its Redis, and reports for each trigger how it will be read. Warns of server settings
    that may lose entries, such as eviction or no persistence.

    Executes what the app executes, on lists, streams and leases made for it: triggerfish:{KEY}:check-... in the slot of
    each key, removed afterwards, or by Redis after a minute. It sets and removes triggerfish:{KEY}:probe, to see
    whether Redis reports changes to the scaler, which otherwise polls. It takes no entry of yours, and adds none. It
    subscribes to the channels, and ignores their messages. --no-write only looks.

    With --metadata of a ScaledObject, such as type=CeleryQueue, it measures that trigger once and changes nothing. A
    queue of which no key exists is a warning, with the names of those that do.

    A line begins with `ok` or `FAIL` for a trigger, or with `warn` for a risk, which does not change the exit status.

    Exits with status 1 if a trigger cannot be read, for example because the user may not run a command that it needs, a
    key has another type, or the server is a read-only replica or does not publish keyspace notifications.
    """
    settings = load_settings_with(config, connection)
    if metadata:
        if app is not None or acl:
            raise ConfigurationError("--metadata", None, "Give it without an app and without --acl.")
        if not _check_metadata(metadata, settings, as_json=json):
            raise typer.Exit(1)
        return
    loaded = loaded_app(app or announced_app("check"), settings)
    if acl:
        asyncio.run(_print_acl(loaded, settings, as_json=json))
    elif not asyncio.run(_check(loaded, settings, write=not no_write, as_json=json)):
        raise typer.Exit(1)


def _check_metadata(metadata: list[str], settings: "Settings", *, as_json: bool) -> bool:
    from triggerfish.measuring import measured_metadata

    explanation = asyncio.run(measured_metadata(metadata, settings))
    if as_json:
        triggers = [status.as_json() for status in explanation.triggers]
        print_json({"triggers": triggers, "problems": explanation.problems})
        return not explanation.problems
    for problem in explanation.problems:
        print_line(problem, label="FAIL", style="red")
    for status in explanation.triggers if not explanation.problems else ():
        backlog = "always one instance" if status.backlog is None else f"backlog {status.backlog:,}"
        print_line(f"{status.reads}: {backlog}", label="ok  ", style="green")
        if status.doubt is not None:
            print_line(status.doubt, label="warn", style="yellow")
    return not explanation.problems


async def _check(app: "App", settings: "Settings", *, write: bool, as_json: bool) -> bool:
    from listeners.checks.check import check as check_app

    results = check_app(app, settings.redis_connections(), settings.host, write=write)
    return await (_report_json(results) if as_json else _report(results))


async def _report(results: "AsyncIterator[CheckResult]") -> bool:
    works = True
    async for result in results:
        print_line(
            f"{result.function}: {result.reads} on {result.address}: {result.detail}{'; ' * bool(result.watched)}"
            f"{result.watched}",
            label="ok  " if result.works else "FAIL",
            style="green" if result.works else "red",
        )
        for warning in result.warnings:
            print_line(warning, label="warn", style="yellow")
        works = works and result.works
    return works


async def _report_json(results: "AsyncIterator[CheckResult]") -> bool:
    found = [result async for result in results]
    print_json({"triggers": [asdict(result) for result in found]})
    return all(result.works for result in found)


async def _print_acl(app: "App", settings: "Settings", *, as_json: bool) -> None:
    from listeners.checks.check import acl_commands

    commands = acl_commands(app, settings.redis_connections())
    if as_json:
        print_json({"commands": [{"address": address, "command": command} async for address, command in commands]})
        return
    async for address, command in commands:
        print_line(f"for the Redis at {address}:", console=stderr())
        print_verbatim(command)
