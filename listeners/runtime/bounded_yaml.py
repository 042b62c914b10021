"""YAML whose aliases are bounded: nine levels of nine aliases are a kilobyte of text and 400 million values."""

from collections.abc import Iterator
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.error import Mark
from yaml.events import AliasEvent, Event
from yaml.nodes import Node

__all__ = ["load_documents", "load_yaml"]

#: The number of values in a file, with every alias counted as a copy.
MAX_VALUES = 200_000


class _BoundedLoader(yaml.SafeLoader):
    """Counts values before it builds any, because merge keys already copy what aliases refer to."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
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
        if self._values > MAX_VALUES:
            raise _problem(f"there are more than {MAX_VALUES:,} values, with aliases counted as copies", event)
        node = super().compose_node(parent, index)
        if node is not None and not isinstance(event, AliasEvent):
            self._values_of[node] = self._values - before
        return node


def _problem(text: str, event: Event) -> ComposerError:
    mark = event.start_mark
    return ComposerError(None, None, text, mark if isinstance(mark, Mark) else None)


def load_yaml(text: str) -> Any:
    """Return the only document in a text, None without one. Raises YAMLError."""
    documents = list(load_documents(text))
    if len(documents) > 1:
        raise yaml.YAMLError("there is more than one document")
    return documents[0] if documents else None


def load_documents(text: str) -> Iterator[Any]:
    """Yield the documents in a text. Raises YAMLError, and nothing else, for any text."""
    try:
        yield from yaml.load_all(text, _BoundedLoader)
    except yaml.YAMLError:
        raise
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except Exception as error:  # noqa: BLE001  (a constructor raises whatever its conversion raises, such as for !!bool 5)
        raise yaml.YAMLError(f"a value cannot be converted: {type(error).__name__}: {error}") from None
