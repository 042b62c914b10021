"""YAML that is bounded: nine levels of nine aliases are a kilobyte of text and 400 million values.

No key may occur twice, as the first value would be dropped in silence.
"""

from collections.abc import Iterator
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.error import Mark
from yaml.events import AliasEvent, Event
from yaml.nodes import MappingNode, Node

__all__ = ["DuplicateKeyError", "load_documents", "load_yaml"]

#: The number of values in a file, with every alias counted as a copy.
MAX_VALUES = 200_000
#: More than any setting needs. Python cannot show numbers of more than 4,300 digits.
MAX_NUMBER_CHARACTERS = 100
_TEXT = "tag:yaml.org,2002:str"
_MERGE = "tag:yaml.org,2002:merge"
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class DuplicateKeyError(ComposerError):
    """A mapping has a key twice. The text does not quote it."""


class _BoundedLoader(yaml.SafeLoader):
    """Counts values before it builds any, because merge keys already copy what aliases refer to."""

    def __init__(self, text: str, max_values: int) -> None:
        super().__init__(text)
        self._max_values = max_values
        self._values = 0
        self._values_of: dict[Node, int] = {}

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent) and event.anchor in self.anchors:
            copied = self._values_of.get(self.anchors[event.anchor])
            if copied is None:
                raise _problem(f"the alias {event.anchor} refers to itself", event)
            self._values += copied
        before = self._values
        self._values += 1
        if self._values > self._max_values:
            raise _problem(f"there are more than {self._max_values:,} values, with aliases counted as copies", event)
        node = super().compose_node(parent, index)
        if node is not None and not isinstance(event, AliasEvent):
            self._values_of[node] = self._values - before
        return node

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """Return a mapping. Raises DuplicateKeyError. A merge key (<<) may occur several times."""
        node: MappingNode = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            named = (key.tag, key.value) if isinstance(key.value, str) else None
            if named in seen:
                raise DuplicateKeyError(None, None, "a key is given twice", key.start_mark)
            if named is not None and key.tag != _MERGE:
                seen.add(named)
        return node

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        """Return the tag of a value. 1:30 is text, as it is for Kubernetes, and not a sexagesimal number."""
        tag = str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]
        return _TEXT if tag in _NUMBERS and isinstance(value, str) and ":" in value else tag

    def construct_scalar(self, node: Any) -> Any:
        """Return the text of a value. Raises ConstructorError for a number that takes long to convert or to show."""
        text = super().construct_scalar(node)
        if node.tag in _NUMBERS and (":" in text or len(text) > MAX_NUMBER_CHARACTERS):
            problem = f"a number has more than {MAX_NUMBER_CHARACTERS} characters, or a colon"
            raise ConstructorError(None, None, problem, node.start_mark)
        return text


def _problem(text: str, event: Event) -> ComposerError:
    mark = event.start_mark
    return ComposerError(None, None, text, mark if isinstance(mark, Mark) else None)


def load_yaml(text: str, max_values: int = MAX_VALUES) -> Any:
    """Return the only document in a text, None without one. Raises YAMLError."""
    documents = list(load_documents(text, max_values))
    if len(documents) > 1:
        raise yaml.YAMLError("there is more than one document")
    return documents[0] if documents else None


def load_documents(text: str, max_values: int = MAX_VALUES) -> Iterator[Any]:
    """Yield the documents in a text. Raises YAMLError, and nothing else, for any text."""
    try:
        loader = _BoundedLoader(text, max_values)
        while loader.check_data():  # type: ignore[no-untyped-call]
            yield loader.get_data()
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except Exception as error:  # noqa: BLE001  (a constructor raises whatever its conversion raises, such as for !!bool 5)
        raise yaml.YAMLError(f"a value cannot be converted: {type(error).__name__}: {error}") from None
