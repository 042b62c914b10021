"""Takes annotations apart. No I/O."""

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

__all__ = ["FromField", "is_union", "members", "parts", "type_name", "unwrapped"]


@dataclass(frozen=True, slots=True)
class FromField:
    """Takes a value from one field of a stream entry: `Annotated[Order, FromField("data")]`.

    The field's value is converted as a list element is, so it may be JSON.
    """

    name: str


def unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return the type behind aliases, NewType and Annotated, and the metadata of all Annotated."""
    metadata: tuple[Any, ...] = ()
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation, metadata = annotation.__origin__, annotation.__metadata__ + metadata
        elif hasattr(origin, "__value__"):  # a generic alias with its arguments
            annotation = origin.__value__[typing.get_args(annotation)]
        elif hasattr(annotation, "__value__"):
            annotation = annotation.__value__
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation, metadata


def type_name(annotation: Any) -> str:
    """Return a type as text, whole but without the metadata of Annotated, which may hold anything."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return type_name(arguments[0])
    if is_union(annotation):
        return " | ".join(map(type_name, arguments))
    if arguments and origin is not typing.Literal and not any(isinstance(one, list) for one in arguments):
        return f"{getattr(origin, '__name__', origin)}[{', '.join(map(type_name, arguments))}]"
    plain = not arguments and hasattr(annotation, "__name__") and annotation is not types.NoneType
    text = str(annotation.__name__ if plain else annotation)
    return {"Ellipsis": "...", "<class 'NoneType'>": "None"}.get(text, text.removeprefix("typing."))


def is_union(annotation: Any) -> bool:
    """Return whether a type is `A | B` or `Optional[A]`."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def members(annotation: Any) -> Iterator[Any]:
    """Yield the members of a union, of unions in it, and of aliases for unions; else the type itself."""
    inner, _ = unwrapped(annotation)
    if is_union(inner):
        for member in typing.get_args(inner):
            yield from members(member)
    else:
        yield inner


def parts(annotation: Any, *, within: tuple[Any, ...] = ()) -> Iterator[Any]:
    """Yield the type, its arguments, what aliases and NewType stand for, their parts, and the metadata of Annotated.

    `within`: the aliases whose parts these are. An alias may contain itself.
    """
    yield annotation
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from annotation.__metadata__
        arguments = arguments[:1]
    alias = annotation if origin is None else origin
    if hasattr(alias, "__value__") and alias not in within:
        yield from parts(alias.__value__, within=(*within, alias))
    if isinstance(annotation, typing.NewType):
        yield from parts(annotation.__supertype__, within=within)
    if origin is not typing.Literal:
        for argument in arguments:
            yield from parts(argument, within=within)
