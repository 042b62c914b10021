"""Generates the page of all public names in Python, from their signatures and docstrings."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import triggerfish
import triggerfish.testing

__all__ = ["MEMBERS", "python_api_page"]

#: The methods and properties that are public. A class that is not named has none, or only those of its attributes.
MEMBERS: dict[str, tuple[str, ...]] = {
    "App": ("list_trigger", "stream_trigger", "pubsub_trigger", "lifespan", "middleware", "run"),
    "Call": ("function", "messages"),
    "CallResult": ("succeeded", "retried", "dead_lettered"),
    "Context": ("seconds_left", "log", "redis", "redis_sync"),
    "Fields": ("pairs", "as_dict"),
    "Host": ("ready", "is_busy", "run", "run_until_signalled", "drain"),
    "RedisMessage": ("to_json",),
    "RunningApp": ("push", "until_idle", "dead_letters"),
    "Server": ("address", "client", "restart", "stop"),
}
#: What users get, and do not make; and what has a page of its own.
NOT_MADE = (
    "Call", "CallResult", "ConfigurationError", "Fields", "HostSettings", "PortTakenError", "RunningApp",
    "TriggerfishError",
)  # fmt: skip
SECTION = re.compile(r"^(Args|Attributes|Raises):$", re.MULTILINE)
ITEM = re.compile(r"^(\w+): ", re.MULTILINE)
MAX_LINE = 100


def python_api_page() -> Iterator[str]:
    """Yield the lines of the page."""
    yield from (
        "# Python",
        "",
        "These names are public: what is not here may change at any time. The parameters of triggers have",
        "[a page of their own](triggers.md), and so have [errors](errors.md) and [settings](settings.md#host).",
        "",
        "## `triggerfish`",
    )
    yield from _names(triggerfish)
    yield from ("", "## `triggerfish.testing`", "", "How to use it: [Test your functions](../how-to/testing.md).")
    yield from _names(triggerfish.testing)
    yield from ("", "The fixtures of `triggerfish.testing.pytest` are `app_server`, `app_to_run` and `running_app`.")


def _names(module: Any) -> Iterator[str]:
    for name in module.__all__:
        found = getattr(module, name)
        yield from ("", f"### `{name}`", "")
        if inspect.isclass(found):
            yield from _class(name, found)
        elif inspect.isroutine(found):
            yield from _routine(name, found)
        elif name == "CallNext":
            yield "The type of `call_next` in middleware: an async function without parameters, awaited once."
        else:
            yield "The version, as text."


def _class(name: str, found: Any) -> Iterator[str]:
    parameters = _parameters(found)
    if parameters is not None:
        yield from (*_code(f"{name}({{}})", parameters), "")
    yield from _documentation(found)
    for member in MEMBERS.get(name, ()):
        documented = inspect.getattr_static(found, member)
        if isinstance(documented, property):
            yield from ("", f"**`{member}`**", "", *_documentation(documented))
        else:
            yield from ("", f"**`{member}()`**", "", *_routine(member, documented))


def _routine(name: str, found: Any) -> Iterator[str]:
    function = inspect.unwrap(found)
    declared = _declaration(function)
    kind = "async def" if isinstance(declared, ast.AsyncFunctionDef) else "def"
    if any("contextmanager" in ast.unparse(one) for one in declared.decorator_list):
        kind = "async with"
    returned = "" if kind == "async with" else f" -> {_type(declared.returns)}"
    yield from (*_code(f"{kind} {name}({{}}){returned}", _arguments(function)), "")
    yield from _documentation(function)


def _code(template: str, parameters: list[str]) -> Iterator[str]:
    """Yield a block of code, with each parameter in a line of its own if they do not fit into one."""
    line = template.format(", ".join(parameters))
    yield "```py"
    if len(line) <= MAX_LINE:
        yield line
    else:
        before, after = template.split("{}")
        yield from (before, *(f"    {parameter}," for parameter in parameters), after)
    yield "```"


def _parameters(found: type) -> list[str] | None:
    """Return the parameters with which an object is made, as they are written; None if users make none."""
    if found.__name__ in NOT_MADE:
        return None
    if dataclasses.is_dataclass(found):
        return _fields(found)
    initializer = next(vars(cls)["__init__"] for cls in found.__mro__ if "__init__" in vars(cls))
    return _arguments(initializer) if inspect.isfunction(initializer) else None


def _fields(found: type) -> list[str]:
    [declared] = ast.parse(textwrap.dedent(inspect.getsource(found))).body
    assert isinstance(declared, ast.ClassDef)
    by_name = any("kw_only=True" in ast.unparse(decorator) for decorator in declared.decorator_list)
    fields = []
    for one in declared.body:
        if isinstance(one, ast.AnnAssign):
            default = ast.unparse(one.value) if one.value is not None else ""
            shown = re.sub(
                r"field\(default=(\w+).*", r"\1", re.sub(r"field\(default_factory=(\w+).*", r"\1()", default)
            )
            default = default.replace("'", '"')
            fields.append(f"{ast.unparse(one.target)}: {ast.unparse(one.annotation)}{shown and f' = {shown}'}")
    return ["*", *fields] if by_name else fields


def _declaration(function: Any) -> ast.FunctionDef | ast.AsyncFunctionDef:
    [declared] = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(declared, ast.FunctionDef | ast.AsyncFunctionDef)
    return declared


def _arguments(function: Any) -> list[str]:
    """Return the parameters without self, with their types as they are written, and the values of defaults."""
    given = _declaration(function).args
    positional = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(positional) - len(given.defaults)), *given.defaults]
    parts = [_parameter(function, *one) for one in zip(positional, defaults, strict=True) if one[0].arg != "self"]
    if given.vararg is not None:
        parts.append(f"*{_parameter(function, given.vararg, None)}")
    elif given.kwonlyargs:
        parts.append("*")
    return parts + [_parameter(function, *one) for one in zip(given.kwonlyargs, given.kw_defaults, strict=True)]


def _parameter(function: Any, parameter: ast.arg, default: ast.expr | None) -> str:
    shown = f"{parameter.arg}: {_type(parameter.annotation)}" if parameter.annotation is not None else parameter.arg
    if default is None:
        return shown
    value = function.__globals__[default.id] if isinstance(default, ast.Name) else ast.literal_eval(default)
    return f"{shown} = {value!r}".replace("'", '"')


def _type(annotation: ast.expr | None) -> str:
    """Return a type as it is written, without quotes."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation) if annotation is not None else "None"


def _documentation(documented: Any) -> Iterator[str]:
    """Yield a docstring as Markdown: its sections are lists."""
    text, *sections = SECTION.split(inspect.cleandoc(documented.__doc__ or ""))
    yield from text.strip().splitlines()
    for heading, content in zip(sections[::2], sections[1::2], strict=True):
        yield from ("", f"{'Parameters' if heading == 'Args' else heading}:", "")
        _, *items = ITEM.split(textwrap.dedent(content.strip("\n")))
        for name, meaning in zip(items[::2], items[1::2], strict=True):
            yield f"- `{name}`: {' '.join(meaning.split())}"
