"""Decides, once per function, how entries become its argument."""

import functools
import inspect
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any

from pydantic import BaseModel, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError

from listeners.errors import BindingError, Reject
from listeners.functions.entries import Entry, RedisMessage

__all__ = ["Binding", "bind", "function_name"]

Converter = Callable[[Entry], Any]
_ACCEPTED = "RedisMessage, str, bytes, dict, a pydantic model, a dataclass, or list[...] of one of these"


@dataclass(frozen=True, slots=True)
class Binding:
    """How a function is called.

    `convert` makes the argument of one entry and raises Reject if the entry cannot become one.
    `batch`: the function takes a list, one call per batch. `is_async`: it runs on the loop, else on a thread.
    """

    convert: Converter
    batch: bool
    is_async: bool


def bind(function: Callable[..., Any]) -> Binding:
    """Read the function's parameter and its annotation.

    Raises BindingError if there is not exactly one parameter to fill, or its annotation is none that we can make.
    """
    parameter = _only_parameter(function)
    annotation = _annotation(function, parameter)
    batch = list in (annotation, typing.get_origin(annotation))
    element = next(iter(typing.get_args(annotation)), RedisMessage) if batch else annotation
    converter = _converter(element, _name(function, parameter.name))
    if converter is None:
        raise BindingError(_name(function, parameter.name), _type_name(annotation), f"Annotate it as {_ACCEPTED}.")
    return Binding(converter, batch, _is_async(function))


def function_name(function: Callable[..., Any]) -> str:
    """The name that a function has in an app: its own, that of a partial's function, or that of an object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", None) or type(function).__name__


def _is_async(function: Callable[..., Any]) -> bool:
    """Whether to call it on the loop. The outermost wrapper decides: it is what gets called.

    Raises BindingError for a generator, whose body a call does not run.
    """
    while isinstance(function, functools.partial):
        function = function.func
    called = function if inspect.isroutine(function) else type(function).__call__
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise BindingError(_name(function), None, "It has a yield, so that calling it does nothing: use return.")
    return inspect.iscoroutinefunction(called)


def _only_parameter(function: Callable[..., Any]) -> inspect.Parameter:
    try:
        signature = inspect.signature(function)
    except ValueError:
        raise BindingError(_name(function), None, "Its parameters are not known: wrap it in a def.") from None
    parameters = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    keyword_only = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]
    if len(required) > 1 or not parameters or keyword_only:
        names = ", ".join([parameter.name for parameter in required] + keyword_only) or None
        raise BindingError(
            _name(function),
            names,
            "A function takes exactly one parameter: the message, or the list of messages.",
        )
    return (required or parameters)[0]


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """What the parameter is annotated with. No other annotation is looked at: they need not exist at run time."""
    if parameter.annotation is parameter.empty:
        return RedisMessage
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return typing.get_type_hints(holder, getattr(_innermost(function), "__globals__", {}))[parameter.name]
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise BindingError(
            _name(function, parameter.name),
            parameter.annotation,
            f"It cannot be resolved: {error}. Define or import the type before the function, at the top of the module.",
        ) from None


def _innermost(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function behind wrappers, partials and callable objects, where the annotations were written."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    return function if inspect.isroutine(function) else type(function).__call__


def _converter(annotation: Any, place: str) -> Converter | None:
    if annotation in (RedisMessage, Any):
        return Entry.message
    if annotation is bytes:
        return Entry.body
    if annotation is str:
        return _to_text
    origin = typing.get_origin(annotation) or annotation
    # A TypedDict is a subclass of dict.
    if isinstance(origin, type) and (issubclass(origin, BaseModel | dict) or is_dataclass(origin)):
        return _to_structure(dict[str, Any] if annotation is dict else annotation, place)
    return None


def _to_text(entry: Entry) -> str:
    try:
        return entry.body().decode()
    except UnicodeDecodeError as error:
        raise Reject(f"the entry is not UTF-8 ({error.reason} at byte {error.start}): take it as bytes") from None


def _to_structure(annotation: Any, place: str) -> Converter:
    try:
        adapter = TypeAdapter(annotation)
        adapter.validate_json(b"")  # a type that names another one not defined yet shows only when it is used
    except ValidationError:
        pass
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise BindingError(place, _type_name(annotation), f"pydantic cannot read it: {error.message}") from None

    takes_fields = annotation in (dict[str, Any], dict[str, str])

    def convert(entry: Entry) -> Any:
        try:
            if entry.payload is not None:
                return adapter.validate_json(entry.payload)
            if takes_fields:  # nothing to be validated
                return _utf8_fields(entry)
            return adapter.validate_python(_utf8_fields(entry))
        except ValidationError as error:
            raise Reject(_summary(annotation, error)) from None

    return convert


def _utf8_fields(entry: Entry) -> dict[str, str]:
    try:
        parts = iter([part.decode() for part in entry.flat_fields or ()])
    except UnicodeDecodeError as error:
        raise Reject(f"a field is not UTF-8 ({error.reason}): take the entry as bytes or RedisMessage") from None
    return dict(zip(parts, parts, strict=True))


def _summary(annotation: Any, error: ValidationError) -> str:
    """The first problem, without the payload: it may hold what a log must not."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"]) or "the entry"
    return f"not a {_type_name(annotation)}: {place}: {problem['msg']} ({error.error_count()} in all)"


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)


def _name(function: Callable[..., Any], parameter: str | None = None) -> str:
    name = getattr(function, "__qualname__", None) or function_name(function)
    return f"{name}({parameter})" if parameter else name
