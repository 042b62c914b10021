"""Loads a project: every function with a Redis trigger, and all mistakes at once."""

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from listeners.connections.settings import ConnectionSettings
from listeners.errors import AppLoadError, ConfigurationError
from listeners.functions.app import App
from triggerfish.functions_project.app_settings import AppSettings
from triggerfish.functions_project.bindings import RedisFunction, redis_function
from triggerfish.functions_project.calls import ProjectCall, check_parameters, handler_for
from triggerfish.functions_project.commands import commands_of
from triggerfish.functions_project.connections import connection_of
from triggerfish.functions_project.decorated import decorated_definitions
from triggerfish.functions_project.definitions import Definition, log
from triggerfish.functions_project.folders import FILE, folder_definitions
from triggerfish.functions_project.host_file import HostFile, read_host_file
from triggerfish.functions_project.triggers import trigger_of

__all__ = ["Project", "connections_of", "load_project"]

DEFAULT_SCRIPT = "function_app.py"


@dataclass(frozen=True)
class Project:
    """A project's app, the connections that its app settings define by name in lower case, and what is left out.

    `left_out` has the type of each function's trigger that is no Redis trigger.
    """

    app: App
    connections: Mapping[str, ConnectionSettings]
    left_out: Mapping[str, str]


def load_project(folder: Path, defined: Collection[str] | None = None) -> Project:
    """Load the project in a folder with host.json.

    `defined` are the names, in lower case, of connections that the settings define, which need no app setting. Without
    it, connections that app settings do not define are no mistake.

    Raises ConfigurationError for all mistakes.
    """
    root = folder.resolve()
    problems: list[ConfigurationError] = []
    settings = AppSettings(root)
    try:
        host_file = read_host_file(root, settings)
    except ConfigurationError as error:
        host_file = HostFile()
        problems.append(error)
    problems += settings.problems()
    # A link keeps its name: a deployment may redirect it to another folder.
    loading = _Loading(root, os.path.basename(os.path.abspath(folder)), settings, host_file, problems)
    with contextlib.chdir(root):
        loading.add_functions()
    connections = _connections(loading.app, settings, defined, problems)
    if problems:
        raise ConfigurationError.combined(problems)
    if not loading.app.functions:
        raise AppLoadError("app", str(folder), "None of its functions has a Redis trigger and is enabled.")
    for name, type_name in loading.left_out.items():
        log.warning("%s is left out: its trigger is a %s, and only Redis triggers run here", name, type_name)
    return Project(loading.app, connections, loading.left_out)


def connections_of(app: App, folder: Path, defined: Collection[str]) -> Mapping[str, ConnectionSettings]:
    """Return the connections of a project whose app another process has loaded; see load_project().

    Raises ConfigurationError for all mistakes.
    """
    settings = AppSettings(folder.resolve())
    problems = settings.problems()
    connections = _connections(app, settings, defined, problems)
    settings.leave_environment()
    if problems:
        raise ConfigurationError.combined(problems)
    return connections


def _connections(
    app: App, settings: AppSettings, defined: Collection[str] | None, problems: list[ConfigurationError]
) -> dict[str, ConnectionSettings]:
    """Return the connections that app settings define. One that is neither there nor in `defined` is a mistake."""
    found: dict[str, ConnectionSettings] = {}
    names = {one.trigger.connection: name for name, one in app.functions.items() if one.trigger.connection}
    for name, function in names.items():
        if defined is not None and name.lower() in defined:
            continue
        try:
            found[name.lower()] = connection_of(name, settings)
        except ConfigurationError as error:
            if defined is not None:
                error.add_hint(f"It is the connection of `{function}`.")
                problems.append(error)
    return found


class _Loading:
    """Adds a project's functions to an app, and mistakes to `problems`."""

    def __init__(
        self, root: Path, name: str, settings: AppSettings, host_file: HostFile, problems: list[ConfigurationError]
    ) -> None:
        self._root = root
        self._settings = settings
        self._host_file = host_file
        self._problems = problems
        self.app = App(name)
        self.left_out: dict[str, str] = {}

        @self.app.lifespan
        async def in_project() -> AsyncIterator[None]:
            with contextlib.chdir(root):  # where the host of Azure Functions runs them
                yield

    def add_functions(self) -> None:
        """Add every function that runs."""
        for folder in (self._root / ".python_packages" / "lib" / "site-packages", self._root):
            if folder.is_dir() and str(folder) not in sys.path:
                sys.path.insert(0, str(folder))
        try:
            definitions = self._definitions()
            folders = {file.parent.name for file in self._root.glob(f"*/{FILE}")}  # also of files with mistakes
            self._host_file.check_names(sorted({one.name for one in definitions} | folders))
        except ConfigurationError as error:
            self._problems.append(error)
            return
        for definition in definitions:
            try:
                if self._runs(definition):
                    self._add(definition)
            except ConfigurationError as error:
                self._problems.append(error)

    def _definitions(self) -> list[Definition]:
        script = self._settings.get("PYTHON_SCRIPT_FILE_NAME") or DEFAULT_SCRIPT
        if (self._root / script).is_file():
            if ignored := sorted(self._root.glob(f"*/{FILE}")):
                log.warning("%s is not read: the project has %s", ignored[0].relative_to(self._root), script)
            return decorated_definitions(self._root, script)
        definitions = folder_definitions(self._root, self._problems)
        if not definitions and not self._problems:
            fix = f"The project has neither {script} nor a folder with {FILE}. Name the project's root folder."
            raise AppLoadError("app", str(self._root), fix)
        return definitions

    def _runs(self, definition: Definition) -> bool:
        name, settings = definition.name, self._settings
        if self._host_file.functions is not None and name not in self._host_file.functions:
            return False
        names = [f"AzureWebJobs.{name}.Disabled", f"AzureWebJobs_{name.replace('.', '_')}_Disabled"]
        if isinstance(definition.disabled, str):
            names.append(definition.disabled.strip("%"))
        elif definition.disabled is not None and not isinstance(definition.disabled, bool):
            fix = "Give true, false, or the name of an app setting."
            raise AppLoadError(f"functions.{name}.disabled", definition.disabled, fix)
        if definition.disabled is True or any(map(settings.is_true, names)):
            log.info("%s is disabled", name)
            return False
        return True

    def _add(self, definition: Definition) -> None:
        """Add a function, or leave it out. Raises ConfigurationError for all mistakes."""
        function = redis_function(definition)
        if isinstance(function, str):
            self.left_out[definition.name] = function
            return
        problems: list[ConfigurationError] = []
        call = self._call(function, problems)
        if call is None:
            raise ConfigurationError.combined(problems)
        self.app.add(handler_for(call), call.trigger, definition.name)

    def _call(self, function: RedisFunction, problems: list[ConfigurationError]) -> ProjectCall | None:
        """Return how a function is called; None if there are problems."""
        trigger, commands, loaded = None, None, None
        try:
            trigger = trigger_of(function, self._settings, self._host_file)
            commands = commands_of(function, self._settings, trigger.connection)
        except ConfigurationError as error:
            problems.append(error)
        try:
            loaded = function.definition.load()
            takes_context = check_parameters(function, loaded)
        except ConfigurationError as error:
            problems.append(error)
        if problems or trigger is None or commands is None or loaded is None:
            return None
        inputs, outputs = commands
        return ProjectCall(function, loaded, trigger, inputs, outputs, takes_context, self._settings.is_preview)
