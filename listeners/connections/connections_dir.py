"""Named connections in a folder, such as a mounted Kubernetes Secret: one file for each.

A file is named as the connection, and holds what stands under `connections` in the settings: a connection string, or
YAML with `connection_string` and more. One Secret then is enough for any number of connections, each a key of it, with
everything that a connection can have, and there is one way to read both. A password that is in a Secret of its own is
named by `password_file`, so that sub-folders are not needed.
"""

import re
from pathlib import Path

import yaml
from pydantic import ValidationError

from listeners.connections.settings import ConnectionSettings
from listeners.errors import ConfigurationError
from listeners.runtime.files import FileStamp, file_stamp, read_file

__all__ = ["folder_stamp", "read_folder"]

MAX_FILES = 1_000
FIELD = "connections_dir"


def read_folder(folder: Path) -> dict[str, ConnectionSettings | ConfigurationError]:
    """The connections in a folder by their names in lower case, or why a file is none; no error shows its content.

    Raises ConfigurationError if there is no such folder.
    """
    found: dict[str, ConnectionSettings | ConfigurationError] = {}
    for file in _files(folder):
        name = file.name.lower()
        if name in found:
            found[name] = ConfigurationError(f"{FIELD}.{name}", None, "Two files have this name: keep one.")
            continue
        try:
            found[name] = _read(file, f"{FIELD}.{name}")
        except ConfigurationError as error:
            found[name] = error
    return found


def folder_stamp(folder: Path) -> tuple[tuple[str, FileStamp], ...] | None:
    """What changes when a file of the folder is added, removed or replaced; None: there is no such folder."""
    try:
        return tuple((file.name, file_stamp(file)) for file in _files(folder))
    except ConfigurationError:
        return None


def _files(folder: Path) -> list[Path]:
    """What stands for a connection: not what begins with a dot, as the links and folders of a Secret mount do."""
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise ConfigurationError(FIELD, str(folder), f"It cannot be read ({error.strerror}).") from None
    if len(files) > MAX_FILES:
        raise ConfigurationError(FIELD, str(folder), f"It has more than {MAX_FILES} files.")
    return files


def _read(file: Path, field: str) -> ConnectionSettings:
    try:
        text = read_file(file, field).decode().strip()
    except UnicodeDecodeError:
        raise ConfigurationError(field, None, "Its file is not text in UTF-8.") from None
    # A password may have anything in it that means something in YAML: a string is taken as it is.
    if not re.match(r"[{#]|\w+:(\s|$)", text):
        return ConnectionSettings.model_validate(text)
    try:
        return ConnectionSettings.model_validate(yaml.safe_load(text))
    except yaml.YAMLError:
        raise ConfigurationError(field, None, "Its file is not YAML of names and values.") from None
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        part = str(problem["loc"][0]) if problem["loc"] else ""
        if not part:
            raise ConfigurationError(field, None, "Its file is not YAML of names and values.") from None
        if part not in ConnectionSettings.model_fields:
            fix = f"Its file has an option that does not exist: use {', '.join(ConnectionSettings.model_fields)}."
            raise ConfigurationError(field, None, fix) from None
        raise ConfigurationError(f"{field}.{part}", None, f"{problem['msg']}.") from None
