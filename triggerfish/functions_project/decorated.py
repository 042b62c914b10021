"""The programming model v2: function_app.py with a FunctionApp and decorators. It imports azure.functions."""

import contextlib
import functools
import importlib
import importlib.metadata
import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from listeners.errors import AppLoadError, MissingExtraError
from listeners.runtime.extras import require_extra
from triggerfish.functions_project.definitions import Definition, imported

__all__ = ["check_azure_functions", "decorated_definitions"]

#: The first Python that azure-functions 2 supports. Releases before 2 support older ones.
PYTHON_OF_2 = (3, 13)


def check_azure_functions(field: str) -> None:
    """Raise MissingExtraError unless azure-functions is installed in a version for this Python."""
    require_extra("azure", field)
    try:
        version = importlib.metadata.version("azure-functions")
    except importlib.metadata.PackageNotFoundError:  # a copy of the package, which may be of any version
        return
    wanted = 2 if sys.version_info >= PYTHON_OF_2 else 1
    if version.partition(".")[0] != str(wanted):
        fix = f"azure-functions {version} is not for this Python: pip install --upgrade 'triggerfish[azure]'."
        raise MissingExtraError(field, None, fix)


def decorated_definitions(root: Path, script: str) -> list[Definition]:
    """Return the functions of the project's FunctionApp in the order of their definition. Raises AppLoadError."""
    check_azure_functions(script)
    module = imported(lambda: _imported_file(root / script), script)
    app = _function_app(module, script)
    with _without_warnings():
        functions = imported(app.get_functions, script)
    return [_definition(root, function) for function in functions]


def _imported_file(file: Path) -> ModuleType:
    """Import the file under its own name, in place of another project's that this process has loaded."""
    loaded = sys.modules.get(file.stem)
    if loaded is not None and getattr(loaded, "__file__", None) != str(file):
        del sys.modules[file.stem]
    importlib.invalidate_caches()
    return importlib.import_module(file.stem)


def _function_app(module: ModuleType, script: str) -> Any:
    from azure.functions import FunctionRegister  # noqa: PLC0415  (optional)

    apps = {id(value): value for value in vars(module).values() if isinstance(value, FunctionRegister)}
    if len(apps) != 1:
        fix = (
            f"It has {len(apps)} function apps. Define one, app = func.FunctionApp(), and register blueprints with it."
        )
        raise AppLoadError(script, None, fix)
    return next(iter(apps.values()))


def _definition(root: Path, function: Any) -> Definition:
    name = function.get_function_name()
    try:
        bindings = [json.loads(text) for text in function.get_raw_bindings()]
    except (TypeError, ValueError, RecursionError):
        fix = "A binding has an argument that JSON cannot hold. Give text, whole numbers, True or False."
        raise AppLoadError(f"functions.{name}.bindings", None, fix) from None
    retry = function.get_settings_dict("retry_policy")
    handler: Callable[..., Any] = function.get_user_function()
    return Definition(name, root, bindings, functools.partial(_same, handler), retry)


def _same(handler: Callable[..., Any]) -> Callable[..., Any]:
    return handler


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Drop the warning that the functions have no authorization level, which concerns HTTP."""
    handler = logging.NullHandler()
    logging.root.addHandler(handler)  # or logging.warning() would add one that stays
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
        logging.root.removeHandler(handler)
