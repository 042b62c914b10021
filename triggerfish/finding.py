"""Finds the app in a folder, for commands that are run without naming one."""

import ast
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

from listeners.errors import ConfigurationError
from triggerfish.apps import is_project

__all__ = ["find_app"]

#: Suffixes of the files that may be an app.
DECLARATIONS = (".yaml", ".yml", ".json")
#: Files that use apps, and hold none that should run.
TESTS = re.compile(r"(test_.*|.*_test|conftest)\.py")
#: More files than a project has in its folder and in its packages' folders, and more bytes than a module has.
MAX_FILES = 1_000
MAX_BYTES = 1024 * 1024
#: How many files an error names.
MAX_NAMES = 10
#: Other tools have `functions:` with handlers too.
DECLARED_FUNCTIONS = re.compile(rb"^functions\s*:|\"functions\"\s*:", re.MULTILINE)
DECLARED_TRIGGER = re.compile(rb"\btype[\"']?\s*:\s*[\"']?redis\w*trigger\b", re.IGNORECASE)


def find_app(folder: Path, command: str) -> str:
    """Return the only app in a folder, as a path from there, in the form that `triggerfish COMMAND` takes.

    An app is a Python file that calls `App` of triggerfish, or a declaration file. It is in the folder itself, in
    `src`, or in a package in one of these; a project of Azure Functions is one as a whole. No file is run to find out.

    Raises ConfigurationError if there is none or more than one, with what was looked at or found.
    """
    if is_project(folder):
        return "."
    files = list(itertools.islice(_candidates(folder), MAX_FILES + 1))
    if len(files) > MAX_FILES:
        fix = f"{folder} has more than {MAX_FILES:,} files. Name the app: triggerfish {command} app.py."
        raise ConfigurationError("APP", None, fix)
    names = [str(file.relative_to(folder)) for file in files]
    found = [name for name, file in zip(names, files, strict=True) if _is_app(file)]
    if len(found) == 1:
        return found[0]
    if found:
        fix = f"{folder} has {len(found)} apps: {_listed(found)}. Name one: triggerfish {command} {found[0]}."
    elif names:
        fix = (
            f"No app was found in {folder}. Looked for a call of triggerfish's App, or a declaration of functions, in "
            f"{_listed(names)}. Name the app: triggerfish {command} app.py."
        )
    else:
        fix = (
            f"No app was found in {folder}, which has no .py, .yaml, .yml or .json file, also not in a package or in "
            f"src. Run it in the app's folder, or name the app: triggerfish {command} path/to/app.py."
        )
    raise ConfigurationError("APP", None, fix)


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield the files that may be an app, in a stable order."""
    source = folder / "src"
    yield from _files(folder, ".py", *DECLARATIONS)
    if not _is_package(source):
        yield from _files(source, ".py")
    for root in (folder, source):
        for package in filter(_is_package, _content(root)):
            yield from _files(package, ".py")


def _files(folder: Path, *suffixes: str) -> Iterator[Path]:
    for file in _content(folder):
        is_other = file.name.startswith(".") or TESTS.fullmatch(file.name)
        if file.suffix in suffixes and not is_other and os.path.isfile(file):
            yield file


def _is_package(folder: Path) -> bool:
    return folder.name.isidentifier() and os.path.isfile(folder / "__init__.py")


def _content(folder: Path) -> list[Path]:
    """Return what is in a folder; nothing if it does not exist or may not be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _is_app(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            source = opened.read(MAX_BYTES + 1)
    except OSError:
        return False
    if len(source) > MAX_BYTES:
        return False
    if file.suffix == ".py":
        return b"triggerfish" in source and _calls_app(source)
    return DECLARED_FUNCTIONS.search(source) is not None and DECLARED_TRIGGER.search(source) is not None


def _calls_app(source: bytes) -> bool:
    """Return whether a module calls triggerfish's App, under whatever name it has imported it."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return re.search(rb"\bApp\(", source) is not None  # loading it reports what is wrong
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {f"{alias.asname or alias.name}.App" for alias in node.names if alias.name == "triggerfish"}
        elif isinstance(node, ast.ImportFrom) and node.module == "triggerfish":
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "App"}
            names |= {"App" for alias in node.names if alias.name == "*"}
    return any(isinstance(node, ast.Call) and _dotted(node.func) in names for node in nodes)


def _dotted(function: ast.expr) -> str:
    """Return `name` or `name.attribute` of what is called; empty for anything else."""
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        return f"{function.value.id}.{function.attr}"
    return function.id if isinstance(function, ast.Name) else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
