"""Triggers that cannot be parsed."""

from typing import Any

import pytest

from listeners.errors import ConfigurationError
from listeners.functions.declarations import parse_trigger
from listeners.functions.triggers import PubSubTrigger, Trigger

__all__ = ["parse_error", "required"]


def required(cls: type[Trigger]) -> dict[str, Any]:
    """Return the required parameters of a trigger class."""
    return {"channel": "c"} if cls is PubSubTrigger else {"keys": "k"}


def parse_error(cls: type[Trigger], **declaration: Any) -> ConfigurationError:
    """Return the error that a declaration raises."""
    with pytest.raises(ConfigurationError) as caught:
        parse_trigger(cls, declaration)
    return caught.value
