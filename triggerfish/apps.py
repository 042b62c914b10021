"""Loads the app that a command line names, which may be a project of Azure Functions."""

import re
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from listeners.errors import AppLoadError
from listeners.functions.app import App
from listeners.functions.loading import app_file, import_folder, load_app

if TYPE_CHECKING:
    from scaler.settings import Settings

__all__ = ["add_connections", "is_project", "load", "source_files"]

HOST_FILE = "host.json"


def is_project(folder: Path) -> bool:
    """Return whether a folder is a project of Azure Functions."""
    return (folder / HOST_FILE).is_file()


def load(reference: str, settings: "Settings | None" = None) -> App:
    """Load an app. A folder with host.json is a project of Azure Functions, and its connections become settings.

    Connections that the settings define take precedence. Without settings, connections are not checked.

    Raises ConfigurationError.
    """
    folder = Path(reference)
    if not is_project(folder):
        _check_folder(folder, reference)
        return load_app(reference)
    from triggerfish.functions_project.project import load_project  # noqa: PLC0415  (few apps are projects)

    if settings is None:
        return load_project(folder).app
    project = load_project(folder, _defined(settings))
    settings.connections |= project.connections
    return project.app


def add_connections(reference: str, app: App, settings: "Settings") -> None:
    """Add the connections of an app that another process has loaded to the settings. Raises ConfigurationError."""
    folder = Path(reference)
    if is_project(folder):
        from triggerfish.functions_project.project import connections_of  # noqa: PLC0415  (few apps are projects)

        settings.connections |= connections_of(app, folder, _defined(settings))


def source_files(reference: str) -> tuple[Path, list[Path]]:
    """Return the folder that an app is imported from, and the files beside its modules that it is made of.

    Raises AppLoadError if there is no such app.
    """
    folder = Path(reference)
    if is_project(folder):
        # A folder may get its function.json later.
        functions = [child / "function.json" for child in folder.glob("[!.]*/")]
        return folder.resolve(), [folder / HOST_FILE, folder / "local.settings.json", *functions]
    _check_folder(folder, reference)
    file = app_file(reference)
    return import_folder(reference), [file] if file is not None else []


def _defined(settings: "Settings") -> Set[str]:
    """Return the names, in lower case, of the connections that the settings define."""
    return {name.lower() for name in settings.connections} | settings.mounted_connections().keys()


def _check_folder(folder: Path, reference: str) -> None:
    """Raise AppLoadError for a folder that is a project without host.json, or that is no package."""
    if not folder.is_dir():
        return
    has_functions = (folder / "function_app.py").is_file() or next(folder.glob("*/function.json"), None) is not None
    if has_functions or not re.fullmatch(r"\w+", reference):
        fix = f"The folder has no {HOST_FILE}, which a project of Azure Functions has. Or give a file, such as app.py."
        raise AppLoadError("app", reference, fix)
