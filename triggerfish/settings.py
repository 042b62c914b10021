"""Loads the settings: for the commands, and for programs that run an app themselves."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from listeners.errors import ConfigurationError
from triggerfish.env_file import apply_env_file, origin

if TYPE_CHECKING:
    from scaler.settings import Settings

__all__ = ["load_settings", "load_settings_with"]


def load_settings(config: Path | str | None = None, *, env_file: Path | str | None = None) -> "Settings":
    """Load the settings as `triggerfish run` does, for a program that runs an app itself.

    They come from the environment (`TRIGGERFISH_...`), from a `.env` file, whose variables are set in the environment
    unless it has them, and from a settings file. `settings.redis_connections()` and `settings.host` are what a Host
    takes.

    Args:
        config: The settings file (YAML). Default: the one that `TRIGGERFISH_CONFIG` names, if it is set.
        env_file: The file with variables. Default: `.env` in the current folder, if it exists.

    Raises:
        ConfigurationError: A file, a variable or a setting is invalid.
    """
    apply_env_file(Path(env_file) if env_file is not None else None)
    config = config or os.environ.get("TRIGGERFISH_CONFIG") or None
    return load_settings_with(Path(config) if config is not None else None, None)


def load_settings_with(config: Path | None, connection: str | None, **sections: dict[str, Any]) -> "Settings":
    """Load the settings with the options that were given; the others are left to the environment and the file.

    Raises ConfigurationError.
    """
    from scaler.settings import load_settings as load_all  # noqa: PLC0415  (slow, and --help needs no settings)

    given = {name: {key: v for key, v in section.items() if v is not None} for name, section in sections.items()}
    flags: dict[str, Any] = {name: section for name, section in given.items() if section}
    if connection is not None:
        flags["connection"] = connection
    try:
        return load_all(config, **flags)
    except ConfigurationError as error:
        variable = f"TRIGGERFISH_{error.field.replace('.', '__').upper()}"
        if not _is_given(error.field, flags) and (place := origin(error.field) or origin(variable)):
            error.add_hint(f"It is set in {place}.")
        raise


def _is_given(field: str, flags: dict[str, Any]) -> bool:
    """Return whether an option has given a setting."""
    section, _, name = field.partition(".")
    return section in flags and (not name or name in flags[section])
