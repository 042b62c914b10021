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
    Of a file that makes its app in a function, the function is taken that is annotated as returning an `App`. A file
    with such a function is also an app if no other is.

    Raises ConfigurationError if there is none or more than one, with what was looked at or found.
    """
    if is_project(folder):
        return "."
    files = list(itertools.islice(_candidates(folder), MAX_FILES + 1))
    if len(files) > MAX_FILES:
        fix = f"{folder} has more than {MAX_FILES:,} files. Name the app: triggerfish {command} app.py."
        raise ConfigurationError("APP", None, fix)
    names = [str(file.relative_to(folder)) for file in files]
    sources = {name: _Source(file) for name, file in zip(names, files, strict=True)}
    found = [name for name, source in sources.items() if source.is_app] or [
        name for name, source in sources.items() if source.factories
    ]
    if len(found) == 1:
        return found[0] + _factory(found[0], sources[found[0]], command)
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


def _factory(name: str, source: "_Source", command: str) -> str:
    """Return what selects the function of a file that makes its app; empty if none has to be selected.

    Raises ConfigurationError if there is more than one.
    """
    if source.has_app or not source.factories:
        return ""
    if len(source.factories) > 1:
        functions = _listed(source.factories)
        fix = f"{name} has several functions that return an App: {functions}. Name one: triggerfish {command} {name}:"
        raise ConfigurationError("APP", None, f"{fix}{source.factories[0]}.")
    return f":{source.factories[0]}"


class _Source:
    """What a file says about an app.

    `is_app`: it calls `App`, declares functions, or may call `App`, as it does not parse. `has_app`: not only within
    functions. `factories` are its functions that are annotated as returning an App.
    """

    def __init__(self, file: Path) -> None:
        self.is_app = self.has_app = False
        self.factories: list[str] = []
        try:
            with file.open("rb") as opened:
                source = opened.read(MAX_BYTES + 1)
        except OSError:
            return
        if len(source) > MAX_BYTES:
            return
        if file.suffix != ".py":
            declares = DECLARED_FUNCTIONS.search(source) is not None and DECLARED_TRIGGER.search(source) is not None
            self.is_app = self.has_app = declares
        elif b"triggerfish" in source:
            self._parse(source)

    def _parse(self, source: bytes) -> None:
        try:
            module = ast.parse(source)
            nodes = list(ast.walk(module))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            self.is_app = self.has_app = re.search(rb"\bApp\(", source) is not None  # loading it reports what is wrong
            return
        names = _names_of_app(nodes)
        self.is_app = any(isinstance(node, ast.Call) and _dotted(node.func) in names for node in nodes)
        functions = [node for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        inside = {node for function in functions for node in ast.walk(function)}
        self.has_app = any(
            isinstance(node, ast.Call) and _dotted(node.func) in names for node in nodes if node not in inside
        )
        self.factories = [function.name for function in functions if _annotated(function) in names]


def _names_of_app(nodes: list[ast.AST]) -> set[str]:
    """Return the names under which a module has imported triggerfish's App."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {f"{alias.asname or alias.name}.App" for alias in node.names if alias.name == "triggerfish"}
        elif isinstance(node, ast.ImportFrom) and node.module == "triggerfish":
            names |= {alias.asname or alias.name for alias in node.names if alias.name == "App"}
            names |= {"App" for alias in node.names if alias.name == "*"}
    return names


def _annotated(function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return the name that a function is annotated to return, which may be in quotes."""
    if isinstance(function.returns, ast.Constant):
        return str(function.returns.value)
    return _dotted(function.returns)


def _dotted(expression: ast.expr | None) -> str:
    """Return `name` or `name.attribute`; empty for anything else."""
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        return f"{expression.value.id}.{expression.attr}"
    return expression.id if isinstance(expression, ast.Name) else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
