"""Read named connections from a folder, such as a mounted Kubernetes Secret, with one file per connection.

The file's name is the connection's name. Its content is the same as under `connections` in the settings: a connection
string, or YAML with `connection_string` and other options. One Secret can therefore hold any number of connections, one
per key, with all their options, and one parser reads both. A password in another Secret is referenced by
`password_file`, so subfolders are not needed.
"""

import re
from pathlib import Path

import yaml
from pydantic import ValidationError

from listeners.connections.settings import ConnectionSettings
from listeners.errors import ConfigurationError
from listeners.runtime.bounded_yaml import DuplicateKeyError, load_yaml
from listeners.runtime.files import FileStamp, file_stamp, read_file

__all__ = ["folder_stamp", "read_folder"]

MAX_FILES = 1_000
#: The values in one file. Far more namespaces than any connection has, and read within a second.
MAX_VALUES = 5_000
FIELD = "connections_dir"


def read_folder(folder: Path) -> dict[str, ConnectionSettings | ConfigurationError]:
    """Return the connections in a folder by name, in lower case. An unusable file has its error instead, which never
    shows the file's content.

    Raises ConfigurationError if the folder cannot be read or has too many files.
    """
    found: dict[str, ConnectionSettings | ConfigurationError] = {}
    for file in _files(folder):
        name = file.name.lower()
        if name in found:
            found[name] = ConfigurationError(f"{FIELD}.{name}", None, "Two files have this name. Keep one.")
            continue
        try:
            found[name] = _read(file, f"{FIELD}.{name}")
        except ConfigurationError as error:
            found[name] = error
    return found


def folder_stamp(folder: Path) -> tuple[tuple[str, FileStamp], ...] | None:
    """Return a value that changes when a file in the folder is added, removed or replaced; None if the folder cannot be
    read or has too many files.
    """
    try:
        return tuple((file.name, file_stamp(file)) for file in _files(folder))
    except ConfigurationError:
        return None


def _files(folder: Path) -> list[Path]:
    """Return the files that define connections. Names with a leading dot are links and folders of a Secret mount."""
    try:
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise ConfigurationError(FIELD, str(folder), f"It cannot be read ({error.strerror}).") from None
    if len(files) > MAX_FILES:
        raise ConfigurationError(FIELD, str(folder), f"It has more than {MAX_FILES} files. Remove some.")
    return files


def _read(file: Path, field: str) -> ConnectionSettings:
    try:
        text = read_file(file, field).decode().strip()
    except UnicodeDecodeError:
        raise ConfigurationError(field, None, "Its file is not UTF-8 text.") from None
    # A password may contain YAML syntax, so a connection string is not parsed as YAML.
    if not re.match(r"[{#]|\w+:(\s|$)", text):
        return ConnectionSettings.model_validate(text)
    neither = ConfigurationError(field, None, "Its file is neither a connection string nor a YAML mapping.")
    try:
        mapping = load_yaml(text, MAX_VALUES)
    except DuplicateKeyError:
        raise ConfigurationError(field, None, "Its file has an option twice. Keep one.") from None
    except yaml.YAMLError:  # without the reason, which may quote a password
        raise neither from None
    try:
        return ConnectionSettings.model_validate(mapping)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        part = str(problem["loc"][0]) if problem["loc"] else ""
        if not part:
            raise neither from None
        if part not in ConnectionSettings.model_fields:
            fix = f"Its file has an unknown option. Use {', '.join(ConnectionSettings.model_fields)}."
            raise ConfigurationError(field, None, fix) from None
        raise ConfigurationError(f"{field}.{part}", None, f"{problem['msg']}.") from None
