"""Binding: how a function is called, decided once from its parameters."""

import functools
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import TypeAdapter

from listeners.errors import BindingError
from listeners.functions.annotations import FromField, members, type_name, unwrapped
from listeners.functions.context import Context
from listeners.functions.conversion import Converter, conversion
from listeners.functions.entries import RedisMessage
from listeners.functions.triggers import MAX_BATCH_SIZE, ListTrigger, PubSubTrigger, StreamTrigger, Trigger

__all__ = ["Binding", "bind", "check_trigger", "function_name", "is_async"]


@dataclass(frozen=True, slots=True)
class Binding:
    """How to call a function.

    `convert` turns an entry into an argument and raises Reject if that is not possible. `validates`: pydantic does it,
    which cannot be interrupted. `batch`: the function takes a list, with one call per batch. `is_async`: the function
    runs on the event loop, otherwise on a thread. `field`: the only field of a stream entry that is used.
    `with_context` calls the function with a context and an argument; None if it takes no context.
    """

    convert: Converter
    validates: bool
    batch: bool
    is_async: bool
    field: str | None = None
    with_context: Callable[[Context[Any], Any], Any] | None = None


def bind(function: Callable[..., Any]) -> Binding:
    """Bind a function by its parameters and their annotations.

    Raises BindingError if the function does not take exactly one argument and at most one context, or its annotation is
    not supported.
    """
    parameters = _parameters(function)
    context = _context_parameter(function, parameters)
    parameter = _only_parameter(function, parameters, context)
    annotation = _annotation(function, parameter)
    place = _name(function, parameter.name)
    inner, metadata = unwrapped(annotation)
    batch = list in (inner, typing.get_origin(inner))
    if batch and _has_effect(metadata):
        fix = "A list is a batch of entries, each validated alone. Annotate its element: list[Annotated[...]]."
        raise BindingError(place, type_name(annotation), fix)
    element = next(iter(typing.get_args(inner)), RedisMessage) if batch else annotation
    found = conversion(element, place)
    with_context = None
    if context is not None:
        with_context = _passing(function, context, comes_first=parameters.index(context) < parameters.index(parameter))
    return Binding(found.convert, found.validates, batch, is_async(function), found.field, with_context)


def check_trigger(name: str, binding: Binding, trigger: Trigger) -> None:
    """Raise BindingError if a trigger does not fit the parameter of its function."""
    if binding.field is not None and not isinstance(trigger, StreamTrigger):
        fix = f"{name} takes a field of a stream entry, and a {trigger.type_name} has no fields. Remove FromField."
        raise BindingError("FromField", binding.field, fix)
    if isinstance(trigger, PubSubTrigger):
        return
    if not binding.batch:
        if trigger.batch_window_ms:
            fix = f"{name} takes one entry per call. Remove it, or annotate the parameter as a list: list[...]."
            raise BindingError("batch_window_ms", trigger.batch_window_ms, fix)
        return
    at_most_once = isinstance(trigger, ListTrigger) and trigger.delivery == "at-most-once"
    if trigger.max_deliveries == 1 and not at_most_once:
        fix = f"{name} takes a list, and entries of a failed batch are retried one by one. Give 2 or more."
        raise BindingError("max_deliveries", 1, fix)
    if trigger.concurrency is not None and trigger.concurrency * trigger.batch_size > MAX_BATCH_SIZE:
        fix = (
            f"{name} takes a list, so up to {trigger.concurrency} x {trigger.batch_size} entries are in progress "
            f"(concurrency x batch_size), and at most {MAX_BATCH_SIZE:,} may be. Lower one of them."
        )
        raise BindingError("concurrency", trigger.concurrency, fix)


def function_name(function: Callable[..., Any]) -> str:
    """Return a function's name in an app: its own, that of a partial's function or of a callable object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__name__", None) or type(function).__name__


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether to call a function on the event loop. The outermost wrapper decides, as it is what gets called.

    Raises BindingError for a generator function, as calling it does not run its body.
    """
    while isinstance(function, functools.partial):
        function = function.func
    called = function if inspect.isroutine(function) else type(function).__call__
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise BindingError(_name(function), None, "It is a generator, so calling it runs nothing. Remove the yield.")
    return inspect.iscoroutinefunction(called)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return all parameters but *args and **kwargs."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        raise BindingError(_name(function), None, "Its parameters cannot be inspected. Wrap it in a def.") from None
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [parameter for parameter in signature.parameters.values() if parameter.kind not in variable]


def _context_parameter(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter]
) -> inspect.Parameter | None:
    """Return the parameter that is annotated as Context. Raises BindingError for one that is only named so."""
    required = [parameter for parameter in parameters if parameter.default is parameter.empty]
    found: list[inspect.Parameter] = []
    for parameter in parameters:
        try:
            annotation = _annotation(function, parameter)
        except BindingError:
            if len(required) > 1 and parameter in required:  # it may be a Context
                raise
            annotation = None
        if any(Context in (leaf, typing.get_origin(leaf)) for leaf in members(annotation)):
            found.append(parameter)
        elif parameter.name == "context":
            given = None if parameter.annotation is parameter.empty else type_name(annotation)
            fix = "Write `context: Context`, with `from triggerfish import Context`. Give an entry another name."
            raise BindingError(_name(function, parameter.name), given, fix)
    if len(found) > 1:
        names = ", ".join(parameter.name for parameter in found)
        raise BindingError(_name(function), names, "A function takes one Context. Remove the others.")
    return found[0] if found else None


def _only_parameter(
    function: Callable[..., Any], parameters: Sequence[inspect.Parameter], context: inspect.Parameter | None
) -> inspect.Parameter:
    """Return the parameter for the entry. Raises BindingError unless there is exactly one."""
    others = [parameter for parameter in parameters if parameter is not context]
    positional = [parameter for parameter in others if parameter.kind is not parameter.KEYWORD_ONLY]
    required = [parameter for parameter in others if parameter.default is parameter.empty]
    if context is not None and not positional:
        fix = (
            f"It takes a Context and no entry. Write `def {function_name(function)}(message, {context.name}: Context)`."
        )
        raise BindingError(_name(function), context.name, fix)
    if len(required) > 1 or not positional or any(parameter.kind is parameter.KEYWORD_ONLY for parameter in required):
        names = ", ".join(parameter.name for parameter in required) or None
        raise BindingError(
            _name(function),
            names,
            "A function takes one parameter, a message or a list of messages, and may take a Context beside it.",
        )
    return next(iter(required), positional[0])


def _passing(
    function: Callable[..., Any], context: inspect.Parameter, *, comes_first: bool
) -> Callable[[Context[Any], Any], Any]:
    """Return how the function is called with its context and an argument."""
    if comes_first:
        return function
    if context.kind is context.POSITIONAL_ONLY:
        return lambda given, argument: function(argument, given)
    name = context.name
    return lambda given, argument: function(argument, **{name: given})


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Resolve the parameter's annotation, and no other: the types of others need not exist at run time."""
    if parameter.annotation is parameter.empty:
        return RedisMessage
    holder = types.SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return typing.get_type_hints(holder, getattr(_innermost(function), "__globals__", {}), include_extras=True)[
            parameter.name
        ]
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


def _has_effect(metadata: tuple[Any, ...]) -> bool:
    """Return whether metadata changes how a list is validated, or is ours."""
    if not metadata:
        return False
    plain = TypeAdapter(list[Any]).core_schema
    try:
        annotated = TypeAdapter(Annotated[(list[Any], *metadata)]).core_schema
    except Exception:  # noqa: BLE001  (metadata may make its schema with any code)
        return True
    return annotated != plain or any(isinstance(one, FromField) for one in metadata)


def _name(function: Callable[..., Any], parameter: str | None = None) -> str:
    name = getattr(function, "__qualname__", None) or function_name(function)
    return f"{name}({parameter})" if parameter else name
