"""Loads the app that a command line names, which may be a project of Azure Functions."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from listeners.errors import AppLoadError
from listeners.functions.app import App
from listeners.functions.loading import load_app

if TYPE_CHECKING:
    from scaler.settings import Settings

__all__ = ["load"]

HOST_FILE = "host.json"


def load(reference: str, settings: "Settings | None" = None) -> App:
    """Load an app. A folder with host.json is a project of Azure Functions, and its connections become settings.

    Connections that the settings define take precedence. Without settings, connections are not checked.

    Raises ConfigurationError.
    """
    folder = Path(reference)
    if not (folder / HOST_FILE).is_file():
        _check_folder(folder, reference)
        return load_app(reference)
    from triggerfish.functions_project.project import load_project  # noqa: PLC0415  (few apps are projects)

    if settings is None:
        return load_project(folder).app
    defined = {name.lower() for name in settings.connections} | settings.mounted_connections().keys()
    project = load_project(folder, defined)
    settings.connections |= project.connections
    return project.app


def _check_folder(folder: Path, reference: str) -> None:
    """Raise AppLoadError for a folder that is a project without host.json, or that is no package."""
    if not folder.is_dir():
        return
    is_project = (folder / "function_app.py").is_file() or next(folder.glob("*/function.json"), None) is not None
    if is_project or not re.fullmatch(r"\w+", reference):
        fix = f"The folder has no {HOST_FILE}, which a project of Azure Functions has. Or give a file, such as app.py."
        raise AppLoadError("app", reference, fix)
