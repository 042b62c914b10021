"""The programming model v1: a folder with function.json for each function."""

import functools
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from listeners.errors import AppLoadError, ConfigurationError
from listeners.text import did_you_mean
from triggerfish.functions_project.definitions import Definition, imported
from triggerfish.functions_project.json_files import read_object

__all__ = ["FILE", "folder_definitions"]

FILE = "function.json"
#: The package that the project is, with its folder as its path. A module has one name, however it is imported.
PACKAGE = "__app__"
DEFAULT_SCRIPT = "__init__.py"
DEFAULT_ENTRY_POINT = "main"


def folder_definitions(root: Path, problems: list[ConfigurationError]) -> list[Definition]:
    """Return the functions of a project in the order of their names. Mistakes are added to `problems`."""
    _install_package(root)
    definitions = []
    for file in sorted(root.glob(f"*/{FILE}")):
        name = file.parent.name
        try:
            found = read_object(file, f"{name}/{FILE}")
        except ConfigurationError as error:
            problems.append(error)
            continue
        script, entry_point = found.get("scriptFile", DEFAULT_SCRIPT), found.get("entryPoint", DEFAULT_ENTRY_POINT)
        load = functools.partial(_load, root, name, script, entry_point)
        definitions.append(
            Definition(name, file.parent, found.get("bindings"), load, found.get("retry"), found.get("disabled", False))
        )
    return definitions


def _install_package(root: Path) -> None:
    """Make the project the package `__app__`, in place of another one that this process has loaded."""
    package = sys.modules.get(PACKAGE)
    if package is not None and list(package.__path__) == [str(root)]:
        return
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]
    spec = importlib.machinery.ModuleSpec(PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(root)]
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    importlib.invalidate_caches()


def _load(root: Path, name: str, script: object, entry_point: object) -> Callable[..., Any]:
    field = f"functions.{name}"
    if "." in name:  # Python would look for a package in a package
        raise AppLoadError("function", name, "A function's folder has no dot in its name. Rename it.")
    if not isinstance(script, str) or not isinstance(entry_point, str):
        raise AppLoadError(f"{field}.scriptFile", None, "scriptFile and entryPoint must be text.")
    try:
        path = (root / name / script).resolve()
        exists = path.is_file()
    except (OSError, ValueError):  # it is too long, or contains a null character
        raise AppLoadError(f"{field}.scriptFile", script, "It is no path. Give a file such as __init__.py.") from None
    if path.suffix != ".py" or not path.is_relative_to(root):
        raise AppLoadError(f"{field}.scriptFile", script, "Give a Python file of the project, such as __init__.py.")
    if not exists:
        raise AppLoadError(f"{field}.scriptFile", script, "There is no such file. It is relative to function.json.")
    parts = path.relative_to(root).with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    module = imported(lambda: importlib.import_module(".".join((PACKAGE, *parts))), f"{field}.scriptFile")
    handler = getattr(module, entry_point, None)
    if not callable(handler):
        functions = [known for known, value in vars(module).items() if callable(value)]
        fix = f"{path.relative_to(root)} has no such function. {did_you_mean(entry_point, functions)}Define it."
        raise AppLoadError(f"{field}.entryPoint", entry_point, fix)
    return handler  # type: ignore[no-any-return]  # callable() narrows to an object of unknown signature
