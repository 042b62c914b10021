"""App settings: the environment, and what local.settings.json adds to it on a developer's machine."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from listeners.errors import NOT_SHOWN, AppLoadError, ConfigurationError
from triggerfish.functions_project.json_files import read_object

__all__ = ["EXTENSION_SETTING", "AppSettings"]

LOCAL_FILE = "local.settings.json"
#: Which version of the Redis extension the functions were written for: 1.0.0, or the preview.
EXTENSION_SETTING = "TRIGGERFISH_REDIS_EXTENSION"
EXTENSIONS = ("1.0.0", "preview")
#: How App Service names the variable of a connection string of the type Custom.
CUSTOM_PREFIX = "customconnstr_"
_PLACEHOLDER = re.compile("%([^%]+)%")
_TRUE = ("1", "true")


class AppSettings:
    """The app settings. Names ignore case, and `__` in a name stands for `:`, as in Azure Functions.

    Reading local.settings.json sets environment variables, where user code reads them, but changes none that is set.
    """

    def __init__(self, root: Path) -> None:
        self._problems: list[ConfigurationError] = []
        #: The environment variables that come from local.settings.json.
        self._local_variables: list[str] = []
        if (root / LOCAL_FILE).exists():
            self._add_local(root / LOCAL_FILE)
        self._values = _environment()
        #: How text is written that may have values in it.
        self._written: dict[str, str] = {}
        self._problems += _key_vault_problems()

    def leave_environment(self) -> None:
        """Remove what was set: the processes that this one starts read the file themselves, which may change."""
        for name in self._local_variables:
            os.environ.pop(name, None)

    def get(self, name: str) -> str | None:
        """Return a setting's value, or None."""
        return self._values.get(_folded(name))

    def below(self, name: str) -> dict[str, str]:
        """Return the settings `name__OPTION` by option, in lower case."""
        prefix = f"{_folded(name)}:"
        return {key.removeprefix(prefix): value for key, value in self._values.items() if key.startswith(prefix)}

    def spelling(self, name: str) -> str:
        """Return a setting's name as the environment has it."""
        return next((spelled for spelled in os.environ if _folded(spelled) == _folded(name)), name)

    def is_true(self, name: str) -> bool:
        """Return whether a setting is on, as those that disable a function are."""
        return (self.get(name) or "").strip().lower() in _TRUE

    def resolved(self, field: str, value: Any) -> Any:
        """Return text with the values of app settings in place of `%NAME%`, and any other value as it is.

        Raises AppLoadError for a setting that there is not.
        """
        if not isinstance(value, str):
            return value

        def setting(match: re.Match[str]) -> str:
            found = self.get(match[1])
            if found is None:
                fix = f"There is no app setting {match[1]}. Set the variable, or add it to {LOCAL_FILE}."
                raise AppLoadError(field, match[0], fix)
            return found

        found = _PLACEHOLDER.sub(setting, value)
        self._written[found] = value
        return found

    def shown(self, text: str) -> str:
        """Return resolved text as it is written, which errors may show.

        Text that another process has resolved is not shown if it is the value of a setting.
        """
        return self._written.get(text, NOT_SHOWN if text in self._values.values() else text)

    @property
    def is_preview(self) -> bool:
        """Whether functions get what the preview of the Redis extension passed to them."""
        return self.get(EXTENSION_SETTING) == "preview"

    def problems(self) -> list[ConfigurationError]:
        """Return all that is wrong with the settings themselves."""
        problems = list(self._problems)
        extension = self.get(EXTENSION_SETTING)
        if extension is not None and extension not in EXTENSIONS:
            problems.append(AppLoadError(EXTENSION_SETTING, extension, f"Use {' or '.join(EXTENSIONS)}."))
        runtime = self.get("FUNCTIONS_WORKER_RUNTIME") or "python"
        if runtime != "python":
            problems.append(AppLoadError("FUNCTIONS_WORKER_RUNTIME", runtime, "Only projects in Python run here."))
        return problems

    def _add_local(self, file: Path) -> None:
        try:
            local = read_object(file, LOCAL_FILE)
        except ConfigurationError as error:
            self._problems.append(error)
            return
        is_encrypted = local.get("IsEncrypted", False)
        if not isinstance(is_encrypted, bool):
            fix = "Give true or false, without quotes."
            self._problems.append(AppLoadError(f"{LOCAL_FILE}.IsEncrypted", None, fix))
            return
        if is_encrypted:
            fix = "Its values are encrypted. Run `func settings decrypt`, or set environment variables instead."
            self._problems.append(AppLoadError(f"{LOCAL_FILE}.IsEncrypted", None, fix))
            return
        environment = _environment()
        for name, value in self._local_values(local):
            if name not in os.environ:
                # The environment may have it in another spelling.
                os.environ[name] = environment.get(_folded(name), value)
                self._local_variables.append(name)

    def _local_values(self, local: dict[str, Any]) -> Iterator[tuple[str, str]]:
        for section, prefix in (("Values", ""), ("ConnectionStrings", "ConnectionStrings:")):
            values = local.get(section, {})
            if not isinstance(values, dict):
                self._problems.append(
                    AppLoadError(f"{LOCAL_FILE}.{section}", None, "Give an object of names and text.")
                )
                continue
            for name, value in values.items():
                # A connection string may have a provider.
                text = value.get("ConnectionString") if prefix and isinstance(value, dict) else value
                problem = (
                    _problem_of(name, text) if isinstance(text, str) else "Its value is not text. Write it in quotes."
                )
                if problem:
                    self._problems.append(AppLoadError(f"{LOCAL_FILE}.{section}.{name}", None, problem))
                else:
                    yield f"{prefix}{name}", str(text)


def _problem_of(name: str, value: str) -> str:
    """Return why a setting of local.settings.json cannot be a variable; empty if it can."""
    if not name or re.search("[=\0]", name) or "\0" in value:
        return "It cannot be an environment variable, with a name without =, and no null characters. Correct it."
    if name.upper().startswith("TRIGGERFISH_") and name.upper() != EXTENSION_SETTING:
        return "Triggerfish reads its own settings before this file. Put it into .env or the environment."
    return ""


def _folded(name: str) -> str:
    return name.replace("__", ":").lower()


def _environment() -> dict[str, str]:
    """Return the environment by folded names."""
    values: dict[str, str] = {}
    for name, value in os.environ.items():
        folded = _folded(name)
        if folded.startswith(CUSTOM_PREFIX):
            values.setdefault(f"connectionstrings:{folded.removeprefix(CUSTOM_PREFIX)}", value)
        values[folded] = value
    return values


def _key_vault_problems() -> Iterator[ConfigurationError]:
    for name, value in os.environ.items():
        if value.lstrip().lower().startswith("@microsoft.keyvault("):
            fix = (
                "It refers to Azure Key Vault, which only Azure resolves. Set the secret itself, for example from a "
                "Kubernetes Secret that is synchronized with the vault."
            )
            yield AppLoadError(name, None, fix)
