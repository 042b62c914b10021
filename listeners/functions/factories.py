"""Functions that make an app: which ones a module has, and what may go wrong when one is called."""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

from listeners.errors import AppLoadError
from listeners.functions.app import App

__all__ = ["factories_in", "make_app"]

#: Names by which a function is recognized if its annotation does not tell.
USUAL_NAMES = ("create_app", "make_app")


def factories_in(module: ModuleType) -> list[str]:
    """Return the names of a module's own functions that look as if they made an app, by their annotation or name."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and (_is_app(value.__annotations__.get("return")) or value.__name__ in USUAL_NAMES)
    ]


def make_app(factory: Callable[..., Any], name: str, reference: str) -> App:
    """Call a function that makes an app. Raises AppLoadError if it cannot, with the place of the function."""
    function = _innermost(factory)
    needed = _needed_arguments(factory)
    if needed:
        fix = f"{name!r} is called without arguments, and needs {', '.join(needed)}. Give them defaults."
        raise _problem(reference, fix, function)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        fix = f"{name!r} is async, and makes the app before an event loop runs. Make it a plain `def`."
        raise _problem(reference, f"{fix} What needs an event loop goes into @app.lifespan.", function)
    app = factory()
    if isinstance(app, App):
        return app
    if inspect.iscoroutine(app):
        app.close()
    returned = "nothing" if app is None else f"an object of type {type(app).__name__}"
    raise _problem(reference, f"{name!r} has returned {returned}. A function that makes the app returns it.", function)


def _is_app(annotation: object) -> bool:
    return annotation == "App" or (isinstance(annotation, type) and issubclass(annotation, App))


def _needed_arguments(function: Callable[..., Any]) -> list[str]:
    """Return the parameters without a default."""
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # it is not written in Python
        return ["arguments that cannot be inspected"]
    return [one.name for one in parameters if one.default is one.empty and one.kind not in variable]


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function behind partials, wrappers and callable objects."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    return function if inspect.isroutine(function) else type(function).__call__


def _problem(reference: str, fix: str, function: Callable[..., Any]) -> AppLoadError:
    code = getattr(function, "__code__", None)
    where = f" It is at {code.co_filename}:{code.co_firstlineno}." if code is not None else ""
    return AppLoadError("app", reference, f"{fix}{where}")
