"""Calls a function as the host of Azure Functions does: by keyword, with inputs before and outputs after it."""

import contextlib
import inspect
import typing
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from listeners.errors import AppLoadError, ConfigurationError
from listeners.functions.binding import is_async
from listeners.functions.context import Context
from listeners.functions.entries import RedisMessage
from listeners.functions.triggers import PolledTrigger, Trigger
from triggerfish.functions_project.bindings import RETURN, RedisFunction
from triggerfish.functions_project.commands import InputCommand, OutputCommand
from triggerfish.functions_project.definitions import imported
from triggerfish.functions_project.invocation import Out, RetryContext, invocation
from triggerfish.functions_project.shapes import binding_data, parameter_value

__all__ = ["ProjectCall", "check_parameters", "handler_for"]

CONTEXT = "context"


@dataclass(frozen=True)
class ProjectCall:
    """How a function is called."""

    function: RedisFunction
    user_function: Callable[..., Any]
    trigger: Trigger
    inputs: Sequence[InputCommand]
    outputs: Sequence[OutputCommand]
    takes_context: bool
    is_preview: bool

    def arguments(self, message: RedisMessage) -> dict[str, Any]:
        """Return all arguments but those of input bindings."""
        binding = self.function.trigger
        value = parameter_value(message, self.trigger, binary=binding.is_binary, preview=self.is_preview)
        arguments: dict[str, Any] = {binding.name: value}
        if self.takes_context:
            definition = self.function.definition
            most = self.trigger.max_deliveries if isinstance(self.trigger, PolledTrigger) else 1
            retry = RetryContext(message.deliveries - 1, most - 1)
            arguments[CONTEXT] = invocation(definition.name, str(definition.directory), retry)
        return arguments | {one.name: Out() for one in self.outputs if one.name != RETURN}

    def output_calls(self, arguments: dict[str, Any], returned: Any) -> list[tuple[OutputCommand, list[str | bytes]]]:
        """Return the commands of all outputs, before the first one runs, as one of them may be invalid.

        What is returned without a binding for it has no effect, as in Azure.
        """
        values = [(one, returned if one.name == RETURN else arguments[one.name].get()) for one in self.outputs]
        return [(one, call) for one, value in values for call in one.calls(value)]


def handler_for(call: ProjectCall) -> Callable[..., Any]:
    """Return the function for an App: async if the user's function is. It fails if a command does."""
    handler = _async_handler(call) if inspect.iscoroutinefunction(call.user_function) else _sync_handler(call)
    # Under the user's names, by which failures find the line in the user's code.
    handler.__name__ = handler.__qualname__ = call.function.definition.name
    handler.__module__ = call.user_function.__module__
    return handler


def _async_handler(call: ProjectCall) -> Callable[..., Any]:
    async def handle(message: RedisMessage, context: Context[Any]) -> None:
        arguments = call.arguments(message)
        data = binding_data(message, call.trigger) if call.inputs else {}
        for one in call.inputs:
            with _naming(one):
                arguments[one.name] = one.value(await _raw(context.redis, one).execute_command(*one.arguments(data)))
        await _finish(call, context, arguments, call.user_function(**arguments))

    return handle


async def _finish(
    call: ProjectCall, context: Context[Any], arguments: dict[str, Any], returning: Awaitable[Any]
) -> None:
    returned = await returning
    for output, command in call.output_calls(arguments, returned):
        with _naming(output):
            await context.redis.execute_command(*command)


def _sync_handler(call: ProjectCall) -> Callable[..., Any]:
    def handle(message: RedisMessage, context: Context[Any]) -> Awaitable[None] | None:
        arguments = call.arguments(message)
        data = binding_data(message, call.trigger) if call.inputs else {}
        for one in call.inputs:
            with _naming(one):
                arguments[one.name] = one.value(_raw(context.redis_sync, one).execute_command(*one.arguments(data)))
        returned = call.user_function(**arguments)
        if inspect.isawaitable(returned):  # a plain wrapper may return its function's coroutine
            return _finish(call, context, arguments, returned)
        for output, command in call.output_calls(arguments, returned):
            with _naming(output):
                context.redis_sync.execute_command(*command)
        return None

    return handle


def _raw(client: Any, command: InputCommand) -> Any:
    """Return the client. Of a command whose reply redis-py would make a number, it returns the text."""
    if command.has_number:
        client.set_response_callback(command.template.partition(" ")[0].upper(), _same)
    return client


def _same(reply: Any, **_: Any) -> Any:
    return reply


@contextlib.contextmanager
def _naming(command: InputCommand | OutputCommand) -> Iterator[None]:
    """Add the name of a binding to what its command raises."""
    try:
        yield
    except Exception as error:
        error.add_note(f"It is the binding {command.name}.")
        raise


def check_parameters(function: RedisFunction, user_function: Callable[..., Any]) -> bool:
    """Return whether a function takes a context. Raises ConfigurationError if it does not take its bindings."""
    field = function.field
    try:
        parameters = inspect.signature(user_function).parameters
    except (TypeError, ValueError):
        raise AppLoadError(field, None, "Its parameters cannot be inspected. Wrap it in a def.") from None
    is_async(user_function)  # which refuses a generator
    hints = imported(lambda: typing.get_type_hints(user_function), field)
    bound = {one.name: one for one in function.parameters}
    takes_context = CONTEXT in parameters and CONTEXT not in bound
    taken = set(parameters) - ({CONTEXT} if takes_context else set())
    problems: list[ConfigurationError] = []
    for name in [one.name for one in parameters.values() if one.kind is one.POSITIONAL_ONLY]:
        fix = "Arguments are passed by name, and this parameter is positional-only. Remove the / after it."
        problems.append(AppLoadError(f"{field}({name})", None, fix))
    for name in sorted(taken - set(bound)):
        fix = f"It has no binding. Add one with this name, or remove the parameter. There are {', '.join(bound)}."
        problems.append(AppLoadError(f"{field}({name})", None, fix))
    for name in sorted(set(bound) - taken):
        fix = f"The function has no parameter for this binding. Write it as {function.definition.name}({name}, ...)."
        problems.append(AppLoadError(f"{field}.{name}", None, fix))
    problems += [
        AppLoadError(f"{field}({name})", getattr(hints[name], "__name__", None), problem)
        for name in sorted(set(hints) & set(bound) & taken)
        if (problem := _annotation_problem(hints[name], is_output=bound[name].is_output))
    ]
    if takes_context and getattr(hints.get(CONTEXT, None), "__name__", "Context") != "Context":
        fix = "The parameter context gets a func.Context. Annotate it so, or give a binding this name."
        problems.append(AppLoadError(f"{field}({CONTEXT})", None, fix))
    if problems:
        raise ConfigurationError.combined(problems)
    return takes_context


def _annotation_problem(annotation: Any, *, is_output: bool) -> str:
    """Return what is wrong with the annotation of a parameter, by the rules of Azure Functions."""
    origin = typing.get_origin(annotation) or annotation
    is_out = getattr(origin, "__name__", "") == "Out"
    if is_output:
        return "" if is_out else "It is an output. Annotate it as func.Out[str], or set its binding's direction to in."
    if is_out:
        return "Its binding is an input. Annotate it as str or bytes, or set the direction to out."
    is_text = isinstance(annotation, type) and issubclass(annotation, str | bytes)
    return "" if is_text else "It gets text, or bytes with dataType binary. Annotate it as str or bytes."
