"""Decides, once per function, how entries become its argument."""

import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from pydantic import BaseModel, PydanticUserError, TypeAdapter, ValidationError

from listeners.errors import BindingError, Reject
from listeners.messages import Entry, RedisMessage

__all__ = ["Binding", "bind"]

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

    def argument(self, entries: Sequence[Entry]) -> Any:
        """The argument for a call with these entries: one of them, or several for a batch function."""
        if self.batch:
            return [self.convert(entry) for entry in entries]
        return self.convert(entries[0])


def bind(function: Callable[..., Any]) -> Binding:
    """Read the function's parameter and its annotation.

    Raises BindingError if there is not exactly one parameter to fill, or its annotation is none that we can make.
    """
    parameter = _only_parameter(function)
    annotation = _annotation(function, parameter)
    element = typing.get_args(annotation)[0] if typing.get_origin(annotation) is list else annotation
    batch = typing.get_origin(annotation) is list or annotation is list
    converter = _converter(RedisMessage if annotation is list else element)
    if converter is None:
        raise BindingError(_name(function, parameter.name), _type_name(annotation), f"Annotate it as {_ACCEPTED}.")
    return Binding(converter, batch, is_async=inspect.iscoroutinefunction(inspect.unwrap(function)))


def _only_parameter(function: Callable[..., Any]) -> inspect.Parameter:
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    keyword_only = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]
    if len(required) > 1 or not parameters or keyword_only:
        names = ", ".join([parameter.name for parameter in required] + keyword_only) or "none"
        raise BindingError(
            _name(function),
            names,
            "A function takes exactly one parameter: the message, or the list of messages.",
        )
    return (required or parameters)[0]


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    try:
        hints = typing.get_type_hints(inspect.unwrap(function))
    except NameError as error:
        raise BindingError(
            _name(function, parameter.name),
            parameter.annotation,
            f"Its annotation cannot be resolved: {error}.",
        ) from None
    return hints.get(parameter.name, RedisMessage)


def _converter(annotation: Any) -> Converter | None:
    if annotation in (RedisMessage, Any):
        return Entry.message
    if annotation is bytes:
        return Entry.body
    if annotation is str:
        return _to_text
    origin = typing.get_origin(annotation) or annotation
    structured = origin is dict or (
        isinstance(origin, type)
        and (issubclass(origin, BaseModel) or is_dataclass(origin) or typing.is_typeddict(origin))
    )
    return _to_structure(dict[str, Any] if annotation is dict else annotation) if structured else None


def _to_text(entry: Entry) -> str:
    try:
        return entry.body().decode()
    except UnicodeDecodeError as error:
        raise Reject(f"the entry is not UTF-8 ({error.reason} at byte {error.start}): take it as bytes") from None


def _to_structure(annotation: Any) -> Converter:
    try:
        adapter = TypeAdapter(annotation)
    except PydanticUserError as error:
        raise BindingError("parameter", _type_name(annotation), f"pydantic cannot read it: {error.message}") from None

    def convert(entry: Entry) -> Any:
        try:
            if entry.payload is not None:
                return adapter.validate_json(entry.payload)
            return adapter.validate_python(_utf8_fields(entry))
        except ValidationError as error:
            raise Reject(_summary(annotation, error)) from None

    return convert


def _utf8_fields(entry: Entry) -> dict[str, str]:
    try:
        return {name.decode(): value.decode() for name, value in entry.fields or ()}
    except UnicodeDecodeError as error:
        raise Reject(f"a field is not UTF-8 ({error.reason}): take the entry as bytes or RedisMessage") from None


def _summary(annotation: Any, error: ValidationError) -> str:
    """The first problem, without the payload: it may hold what a log must not."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"]) or "the entry"
    return f"not a {_type_name(annotation)}: {place}: {problem['msg']} ({error.error_count()} in all)"


def _type_name(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)


def _name(function: Callable[..., Any], parameter: str | None = None) -> str:
    name = getattr(function, "__qualname__", repr(function))
    return f"{name}({parameter})" if parameter else name
