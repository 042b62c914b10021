"""A process that imports an app and reports what it has found, so that no other process has to import a changed app.

    python -m triggerfish.reloading.loading REFERENCE DESCRIPTOR

It writes a Report to the file descriptor. The log has what is wrong, with the traceback of the app's own code.
"""

import os
import sys

from pydantic import BaseModel

from listeners.errors import ConfigurationError
from listeners.functions.app import App
from listeners.functions.mistakes import is_users_file
from listeners.functions.triggers import Trigger
from listeners.runtime.code_locations import without_own_frames
from listeners.runtime.logs import LogFormat, log_to_stderr, steady_logger
from listeners.runtime.process_exit import exit_process
from triggerfish.apps import load

__all__ = ["Declared", "Report"]

log = steady_logger("triggerfish.reload")


class Declared(BaseModel):
    """A trigger of an app. JSON has no secrets, so it has its connection string beside it.

    `batch`: the function takes a list, on which the valid parameters of its trigger depend.
    """

    type_name: str
    parameters: dict[str, object]
    connection_string: str | None
    batch: bool


class Report(BaseModel):
    """What an import has found: the app's name and its triggers, if it could be imported, and the files imported."""

    app: str | None = None
    functions: dict[str, Declared] = {}
    files: list[str] = []


def main(reference: str, descriptor: str) -> None:
    """Import the app and write the report."""
    log_to_stderr(
        os.environ.get("TRIGGERFISH_LOG", "info"), LogFormat(os.environ.get("TRIGGERFISH_LOG_FORMAT", "text"))
    )
    report = Report()
    try:
        app = load(reference)
    except ConfigurationError as error:
        cause = without_own_frames(error.__cause__ or error)
        shown = cause if cause.__traceback__ is not None or isinstance(cause, SyntaxError) else None
        log.error("%s", error, exc_info=shown)  # noqa: TRY400  (only the user's part)
    else:
        report.app, report.functions = app.name, _declared(app)
    report.files = sorted(_imported_files())
    with os.fdopen(int(descriptor), "w", encoding="utf-8") as written:
        written.write(report.model_dump_json())
    exit_process(0)


def _declared(app: App) -> dict[str, Declared]:
    return {name: _described(function.trigger, function.binding.batch) for name, function in app.functions.items()}


def _described(trigger: Trigger, batch: bool) -> Declared:
    secret = trigger.connection_string
    return Declared(
        type_name=trigger.type_name,
        parameters=trigger.model_dump(mode="json", exclude={"connection_string"}, exclude_defaults=True),
        connection_string=secret.get_secret_value() if secret is not None else None,
        batch=batch,
    )


def _imported_files() -> set[str]:
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return {file for file in files if isinstance(file, str) and is_users_file(file)}


if __name__ == "__main__":
    main(*sys.argv[1:])
