"""`triggerfish explain`: shows backlogs and targets of an app, of metadata, or of a running scaler."""

import asyncio
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
from triggerfish.cli.output import (
    error_line,
    print_json,
    print_line,
    scheduled_lines,
    stdout,
    trigger_table,
    watched_lines,
)
from triggerfish.settings import load_settings_with

if TYPE_CHECKING:
    from scaler.monitoring.status import TriggerStatus
    from scaler.settings import Settings
    from triggerfish.measuring import Explanation

__all__ = ["explain"]

#: A scaler lists ten thousand triggers within a second or two.
ANSWER_SECONDS = 10.0

ScalerOption = Annotated[
    str | None, typer.Option("--scaler", metavar="URL", help="A running scaler's HTTP address: http://host:8080.")
]


def explain(
    app: OptionalAppArgument = None,
    scaler: ScalerOption = None,
    metadata: MetadataOption = None,
    json: JsonOption = False,
    env_file: EnvFileOption = None,
    config: ConfigOption = None,
    connection: ConnectionOption = None,
) -> None:
    """Show the backlog and the target of each trigger.

    The triggers are those of an app, the one in a ScaledObject's --metadata, or, with --scaler, all that a running
    scaler tracks, as of their last sample. Read-only.

    Exits with status 1 if a trigger could not be measured.
    """
    if sum((app is not None, scaler is not None, bool(metadata))) > 1:
        raise ConfigurationError("APP", None, "Give only one of an app, --scaler URL and --metadata KEY=VALUE.")
    if scaler is not None:
        explanation = asyncio.run(_explain_scaler(scaler))
    elif metadata:
        explanation = _explain_metadata(metadata, load_settings_with(config, connection))
    else:
        explanation = _explain_app(app or _only_app(), load_settings_with(config, connection))
    if json:
        triggers = [status.as_json() for status in explanation.triggers]
        print_json({"triggers": triggers, "problems": explanation.problems})
    else:
        _print(explanation, of_scaler=scaler is not None)
    if explanation.problems:
        raise typer.Exit(1)


def _only_app() -> str:
    try:
        return announced_app("explain")
    except ConfigurationError as error:
        error.add_hint("Or give --scaler URL or --metadata KEY=VALUE.")
        raise


def _print(explanation: "Explanation", *, of_scaler: bool) -> None:
    for problem in explanation.problems:
        error_line(problem)
    if explanation.triggers:
        stdout().print(trigger_table(explanation.triggers))
        if lines := watched_lines(explanation.triggers):
            print_line("")
            for line in lines:
                print_line(line)
        for line in scheduled_lines(explanation.triggers):
            print_line(line)
        for doubt in [status.doubt for status in explanation.triggers if status.doubt is not None]:
            print_line(doubt, label="note:", style="yellow")
    elif of_scaler and not explanation.problems:
        print_line(
            "This scaler tracks no triggers yet. Create a ScaledObject for it, or declare triggers in its settings."
        )


def _explain_app(reference: str, settings: "Settings") -> "Explanation":
    from scaler.triggers.app_triggers import app_triggers, check_connections
    from triggerfish.measuring import measured

    app = loaded_app(reference, settings)
    check_connections(app, settings.redis_connections())
    return asyncio.run(measured(app_triggers(app, None), settings))


def _explain_metadata(pairs: list[str], settings: "Settings") -> "Explanation":
    from triggerfish.measuring import measured_metadata

    return asyncio.run(measured_metadata(pairs, settings))


async def _explain_scaler(address: str) -> "Explanation":
    """Return what a scaler reports. Raises ConfigurationError if the address is not an HTTP address."""
    import aiohttp
    from pydantic import BaseModel, ValidationError
    from yarl import URL

    from scaler.monitoring.status import TriggerStatus
    from triggerfish.measuring import Explanation

    class Listed(BaseModel):
        triggers: list[TriggerStatus]
        problems: list[str] = []

    try:
        url = URL(address)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError("--scaler", None, "Give its HTTP address, such as http://localhost:8080.")
    shown = url.with_user(None)
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_SECONDS)) as session,
            session.get(url / "api/v1/triggers") as response,
        ):
            response.raise_for_status()
            listed = Listed.model_validate_json(await response.read())
    except aiohttp.ClientResponseError as error:
        return Explanation([], [f"{shown} replied with status {error.status}. Is it the scaler's HTTP port (8080)?"])
    except ValidationError:
        return Explanation([], [f"{shown} sent an unexpected reply. Is it the scaler's HTTP port (8080)?"])
    except TimeoutError:
        return Explanation([], [f"{shown} did not answer within {ANSWER_SECONDS:g} s"])
    except (aiohttp.ClientError, OSError) as error:
        return Explanation([], [f"{shown} cannot be reached: {error}"])
    unknown = [_problem(status) for status in listed.triggers if not status.known]
    return Explanation(listed.triggers, [*listed.problems, *unknown])


def _problem(status: "TriggerStatus") -> str:
    owner = () if status.declared else (status.namespace, status.scaled_object)
    name = "/".join(part for part in (*owner, status.label) if part)
    return f"{name}: {status.error or status.reason}"
