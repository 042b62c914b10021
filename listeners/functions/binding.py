"""Binding: how entries become a function's argument, decided once per function from its annotation."""

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

__all__ = ["MAX_DESCRIBED_ERRORS", "Binding", "bind", "function_name"]

Converter = Callable[[Entry], Any]
#: Above this number of validation errors, only the number is given: building their text can take gigabytes.
MAX_DESCRIBED_ERRORS = 20
_ACCEPTED = "RedisMessage, str, bytes, dict, a pydantic model, a dataclass, or list[...] of one of these"


@dataclass(frozen=True, slots=True)
class Binding:
    """How to call a function.

    `convert` turns an entry into an argument and raises Reject if that is not possible. `validates`: pydantic does it,
    which cannot be interrupted. `batch`: the function takes a list, with one call per batch. `is_async`: the function
    runs on the event loop, otherwise on a thread.
    """

    convert: Converter
    validates: bool
    batch: bool
    is_async: bool


def bind(function: Callable[..., Any]) -> Binding:
    """Bind a function by its parameter and that parameter's annotation.

    Raises BindingError if the function does not take exactly one argument, or its annotation is not supported.
    """
    parameter = _only_parameter(function)
    annotation = _annotation(function, parameter)
    batch = list in (annotation, typing.get_origin(annotation))
    element = next(iter(typing.get_args(annotation)), RedisMessage) if batch else annotation
    converter = _converter(element, _name(function, parameter.name))
    if converter is None:
        raise BindingError(_name(function, parameter.name), _type_name(annotation), f"Annotate it as {_ACCEPTED}.")
    validates = converter not in (Entry.message, Entry.body, _to_text)
    return Binding(converter, validates, batch, _is_async(function))


def function_name(function: Callable[..., Any]) -> str:
    """Return a function's name in an app: its own, that of a partial's function or of a callable object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", None) or type(function).__name__


def _is_async(function: Callable[..., Any]) -> bool:
    """Return whether to call a function on the event loop. The outermost wrapper decides, as it is what gets called.

    Raises BindingError for a generator function, as calling it does not run its body.
    """
    while isinstance(function, functools.partial):
        function = function.func
    called = function if inspect.isroutine(function) else type(function).__call__
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise BindingError(_name(function), None, "It is a generator, so calling it runs nothing. Remove the yield.")
    return inspect.iscoroutinefunction(called)


def _only_parameter(function: Callable[..., Any]) -> inspect.Parameter:
    try:
        signature = inspect.signature(function)
    except ValueError:
        raise BindingError(_name(function), None, "Its parameters cannot be inspected. Wrap it in a def.") from None
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
            "A function takes exactly one parameter: a message or a list of messages.",
        )
    return (required or parameters)[0]


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Resolve the parameter's annotation, and no other: the types of others need not exist at run time."""
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
    """Return the function behind partials, wrappers and callable objects, where the annotation was written."""
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
        raise Reject(
            f"the entry is not UTF-8 ({error.reason} at byte {error.start}): annotate the parameter as bytes"
        ) from None


def _to_structure(annotation: Any, place: str) -> Converter:
    try:
        adapter = TypeAdapter(annotation)
        adapter.validate_json(b"")  # an undefined forward reference is only detected on use
    except ValidationError:
        pass
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise BindingError(place, _type_name(annotation), f"pydantic cannot validate it: {error.message}") from None

    takes_fields = annotation in (dict[str, Any], dict[str, str])

    def convert(entry: Entry) -> Any:
        try:
            if entry.payload is not None:
                return adapter.validate_json(entry.payload)
            if takes_fields:  # nothing to validate
                return _utf8_fields(entry)
            return adapter.validate_python(_utf8_fields(entry))
        except ValidationError as error:
            raise Reject(_summary(annotation, error)) from None

    return convert


def _utf8_fields(entry: Entry) -> dict[str, str]:
    try:
        parts = iter([part.decode() for part in entry.flat_fields or ()])
    except UnicodeDecodeError as error:
        raise Reject(
            f"a field is not UTF-8 ({error.reason}): annotate the parameter as bytes or RedisMessage"
        ) from None
    return dict(zip(parts, parts, strict=True))


def _summary(annotation: Any, error: ValidationError) -> str:
    """Describe the first problem, without the payload, which may contain what must not be logged.

    Of very many problems only the number is given, as pydantic describes all to describe one.
    """
    if error.error_count() > MAX_DESCRIBED_ERRORS:
        return f"not a valid {_type_name(annotation)} (errors: {error.error_count()})"
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"]) or "the entry"
    return f"not a valid {_type_name(annotation)}: {place}: {problem['msg']} (errors: {error.error_count()})"


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)


def _name(function: Callable[..., Any], parameter: str | None = None) -> str:
    name = getattr(function, "__qualname__", None) or function_name(function)
    return f"{name}({parameter})" if parameter else name
