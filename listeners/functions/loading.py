"""Loads the app that a command line names: a Python file, a module, or a YAML or JSON declaration."""

import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from listeners.errors import AppLoadError, ConfigurationError
from listeners.functions.app import App
from listeners.functions.declarations import parse_declaration
from listeners.functions.factories import factories_in, make_app
from listeners.functions.mistakes import mistake_location
from listeners.runtime.bounded_yaml import load_yaml
from listeners.runtime.code_locations import without_own_frames
from listeners.runtime.logs import steady_logger
from listeners.text import describe_exception, may_hold_connection_string, printable, syntax_problem

__all__ = ["app_file", "import_folder", "load_app"]

log = steady_logger("triggerfish.host")

#: What each function in a declaration file must have, besides its trigger's parameters.
REQUIRED = ("handler", "type")
DECLARATIONS = (".yaml", ".yml", ".json")
FILES = (".py", *DECLARATIONS)
TRACEBACK_HINT = "`triggerfish run --log-level debug` prints the traceback."
#: How much of an exception's text is shown, as it may be a whole document.
MAX_RAISED_CHARACTERS = 5_000
#: Names that a user's own module may have too.
OUR_PACKAGES = ("listeners", "scaler", "triggerfish")


def load_app(reference: str) -> App:
    """Load an app from `file.py[:name]`, `package.module[:name]`, `file.yaml` or `file.json`.

    A name may be that of an app, or of a function that returns one, with or without `()`.

    An app without a name is named after its file or module. A declaration file has `functions`: for each name a
    `handler` (module:function), a `type` and the trigger's parameters, in any spelling that Azure Functions uses.

    Raises AppLoadError or another ConfigurationError with the field, the value and the fix.
    """
    file = app_file(reference)
    place, attribute = _parts(reference)
    if file is not None and file.suffix in DECLARATIONS:
        app = _declared_app(file)
    else:
        app = _app_in(_import(lambda: _module(place, file), reference), attribute, place, reference)
    if not app.functions:
        raise AppLoadError("app", reference, "It has no functions. Decorate one with @app.list_trigger(...).")
    app.set_default_name(file.stem if file is not None else place.rpartition(".")[2])
    return app


def app_file(reference: str) -> Path | None:
    """Return the file of an app, or None if its reference names a module.

    Raises AppLoadError if there is no such file, or it is no reference.
    """
    if may_hold_connection_string(reference):
        fix = "It is a connection. Give the app, such as shop.py, and the connection as --connection."
        raise AppLoadError("app", reference, fix)
    place, _ = _parts(reference)
    path = Path(place)
    if path.suffix in FILES:
        if not path.is_file():
            raise AppLoadError("app", place, "There is no such file. Relative paths start in the current directory.")
        return path
    if not place or place.startswith(".") or "/" in place:
        fix = "It is neither a file that ends in .py, .yaml, .yml or .json, nor a module such as package.module."
        raise AppLoadError("app", place, fix)
    return None


def import_folder(reference: str) -> Path:
    """Return the folder from which an app is imported, with its packages. Raises AppLoadError as app_file does."""
    file = app_file(reference)
    return _root(file.resolve()) if file is not None else Path.cwd()


def _parts(reference: str) -> tuple[str, str]:
    """Return the file or module of a reference, and the name in it, which may be empty."""
    place, _, attribute = reference.rstrip(":").partition(":")
    return place, attribute.removesuffix("()")


def _module(place: str, file: Path | None) -> ModuleType:
    if file is not None:
        return _module_of_file(file.resolve())
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(place)


def _module_of_file(path: Path) -> ModuleType:
    """Import exactly this file, even if another module has its name (queue.py, or app.py in another folder).

    A file in a package, that is a folder with `__init__.py`, is imported as its module, so that relative imports work.
    """
    sys.path.insert(0, str(path.parent))
    name = _name_in_package(path)
    if name is not None:
        return importlib.import_module(name)
    for name in (path.stem, str(path)):
        if getattr(sys.modules.get(name), "__file__", None) == str(path):
            return sys.modules[name]
    name = str(path) if path.stem in sys.modules else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError("Python has no loader for this file")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _name_in_package(path: Path) -> str | None:
    """Return the full name of the module in a file, and make it importable; None if it is in no package.

    None, too, if its name leads to another file, because another package has the name.
    """
    folder = _root(path)
    if folder == path.parent:
        return None
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    name = ".".join(path.relative_to(folder).with_suffix("").parts)
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):  # another package, or a folder whose name is no identifier
        return None
    return name if found is not None and found.origin == str(path) else None


def _root(path: Path) -> Path:
    """Return the folder of a file, or of the outermost package that it is in."""
    folder = path.parent
    while (folder / "__init__.py").is_file() and folder != folder.parent:
        folder = folder.parent
    return folder


def _import(load: Callable[[], Any], reference: str, field: str = "app", doing: str = "Importing it") -> Any:
    """Run an import. Anything that the user's module raises becomes a ConfigurationError with the line that raised it.

    The debug log has the traceback. `doing` is what raised it, as the beginning of a sentence.
    """
    try:
        return load()
    except ConfigurationError as error:
        log.debug("importing %s failed", reference, exc_info=without_own_frames(error))
        if where := mistake_location(error):
            error.add_hint(f"It is at {where}. {TRACEBACK_HINT}")
        raise
    except BaseException as error:  # a module may raise anything, even SystemExit
        log.debug("importing %s failed", reference, exc_info=without_own_frames(error))
        raise AppLoadError(field, reference, _import_problem(error, doing)) from error


def _import_problem(error: BaseException, doing: str) -> str:
    where = mistake_location(error)
    place = f" at {where}" if where else ""
    if isinstance(error, ImportError) and (hidden := _hidden_by_ours(error)) is not None:
        return f"{hidden} has the same name as a package of Triggerfish, which is imported instead. Rename it."
    if isinstance(error, ModuleNotFoundError):
        return f"No module named {error.name!r} was found{place}. {_where_to_find(error.name or '')}"
    if isinstance(error, ImportError) and "relative import" in str(error):
        fix = "Add an empty __init__.py to its folder, or import modules by their full names."
        return f"A relative import{place} needs a package, and the file is in none. {fix}"
    text = " ".join(describe_exception(error).split())  # it may have several lines
    raised = printable(text, MAX_RAISED_CHARACTERS)
    return f"{doing} raised {raised}{place}. {TRACEBACK_HINT}"


def _where_to_find(module: str) -> str:
    top = module.partition(".")[0]
    for folder in (Path("src"), *Path.cwd().parents):
        if top and ((folder / top / "__init__.py").is_file() or (folder / f"{top}.py").is_file()):
            return f"{folder / top} has this name: install it (pip install -e .), or set PYTHONPATH={folder}."
    return "Install it, or run in the folder that contains it."


def _hidden_by_ours(error: ImportError) -> Path | None:
    """Return the user's module or package that the import meant, if a Triggerfish package hides it."""
    package, *submodules = (error.name or "").split(".")
    if package not in OUR_PACKAGES:
        return None
    ours = Path(__file__).parents[2].resolve()
    for folder in (Path(entry) for entry in sys.path):
        if folder.resolve() != ours and _provides(folder / package, submodules, error):
            return folder / package if (folder / package).is_dir() else folder / f"{package}.py"
    return None


def _provides(package: Path, submodules: list[str], error: ImportError) -> bool:
    """Return whether a module or package on disk has the submodule, or defines the name, that the error misses."""
    module = package.joinpath(*submodules)
    if isinstance(error, ModuleNotFoundError):
        return bool(submodules) and (module.is_dir() or module.with_name(f"{module.name}.py").is_file())
    missing = re.match(r"cannot import name '(\w+)'", error.msg)
    if missing is None:
        return False
    if (module / missing[1]).is_dir() or (module / f"{missing[1]}.py").is_file():
        return True
    sources = (module / "__init__.py", module.with_name(f"{module.name}.py"))
    # Uses do not count: the app itself, in a file of our name, uses what it cannot import.
    name = missing[1]
    definition = re.compile(rf"^((async )?def|class) {name}\b|^{name}\b *[:=]|^from \..*\b{name}\b".encode(), re.M)
    return any(source.is_file() and definition.search(source.read_bytes()) for source in sources)


def _app_in(module: ModuleType, attribute: str, place: str, reference: str) -> App:
    if attribute:
        return _named_app(getattr(module, attribute, None), attribute, reference)
    apps = list({id(value): value for value in vars(module).values() if isinstance(value, App)}.values())
    if len(apps) == 1:
        return apps[0]
    factories = factories_in(module)
    if not apps and factories:
        fix = f"It has no app, but a function that makes one. Select it as {place}:{factories[0]}."
        raise AppLoadError("app", reference, fix)
    if apps:
        raise AppLoadError("app", reference, f"It has {len(apps)} apps. Define one, or select one as {place}:NAME.")
    fix = f"It has no app. Define one, app = App(), or name a function that returns one: {place}:FUNCTION."
    raise AppLoadError("app", reference, fix)


def _named_app(found: object, attribute: str, reference: str) -> App:
    """Return the app that a name stands for, or that the function returns for which it stands."""
    if isinstance(found, App):
        return found
    if isinstance(found, ModuleType):
        fix = f"{attribute!r} is a module. Name it as {found.__name__}, or its app as {found.__name__}:NAME."
        raise AppLoadError("app", reference, fix)
    if not callable(found) or isinstance(found, type):
        raise AppLoadError("app", reference, f"{attribute!r} is not an App. Define it as {attribute} = App().")
    app: App = _import(lambda: make_app(found, attribute, reference), reference, doing=f"Calling {attribute}")
    return app


def _declared_app(path: Path) -> App:
    declared = _read(path)
    sys.path.insert(0, str(path.resolve().parent))
    app = App(declared.get("name"))
    problems: list[ConfigurationError] = []
    for name, declaration in ((str(given), value) for given, value in declared["functions"].items()):
        try:
            _declare(app, name, declaration)
        except ConfigurationError as error:
            problems.append(error)
    if problems:
        raise ConfigurationError.combined(problems)
    return app


def _declare(app: App, name: str, declaration: object) -> None:
    """Add a function of a declaration to an app. Raises ConfigurationError for all mistakes."""
    place = f"functions.{name}"
    if not isinstance(declaration, dict):
        raise AppLoadError(place, None, f"Give it a {' and a '.join(REQUIRED)}.")
    if not all(key in declaration for key in REQUIRED):
        raise AppLoadError(place, None, f"Give it a {' and a '.join(REQUIRED)}.")
    problems: list[ConfigurationError] = []
    parameters = {key: value for key, value in declaration.items() if key not in REQUIRED}
    try:
        trigger = parse_declaration(declaration["type"], parameters, REQUIRED)
    except ConfigurationError as error:
        problems.append(AppLoadError.within(place, error))
    try:
        handler = _handler(f"{place}.handler", declaration["handler"])
    except ConfigurationError as error:
        problems.append(error)
    if problems:
        raise ConfigurationError.combined(problems)
    app.add(handler, trigger, name)


def _handler(field: str, reference: object) -> Callable[..., Any]:
    module_name, _, attribute = str(reference).partition(":")
    if not module_name or not attribute:
        raise AppLoadError(field, reference, "Write it as module:function.")
    handler = getattr(_import(lambda: importlib.import_module(module_name), str(reference), field), attribute, None)
    if not callable(handler):
        raise AppLoadError(field, reference, f"{module_name} has no function {attribute!r}. Check the name.")
    return handler  # type: ignore[no-any-return]  # callable() narrows to an object of unknown signature


def _read(path: Path) -> dict[str, Any]:
    try:
        source = path.read_text()
        is_json = path.suffix == ".json"
        declared = json.loads(source, object_pairs_hook=_distinct) if is_json else load_yaml(source)
    except OSError as error:
        raise AppLoadError("app", str(path), f"It cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise AppLoadError("app", str(path), f"It does not parse: {syntax_problem(error)}.") from None
    if not isinstance(declared, dict) or not isinstance(declared.get("functions"), dict) or not declared["functions"]:
        raise AppLoadError("app", str(path), "It needs `functions:` with a handler, a type and parameters for each.")
    unknown = sorted(str(key) for key in set(declared) - {"name", "functions"})
    if unknown:
        raise AppLoadError(unknown[0], None, "A declaration file may have only `name` and `functions`.")
    if not isinstance(declared.get("name", ""), str):
        raise AppLoadError("name", declared["name"], "The app's name must be text. Write it in quotes.")
    return declared


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError for a key that occurs twice, of which one value would be dropped."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found
