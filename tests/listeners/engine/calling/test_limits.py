"""How many calls and entries of a function one instance has at once."""

from typing import Any

import pytest

from listeners.engine.calling.limits import Limits
from triggerfish import App


async def one(entry: str) -> None:
    """Take one entry."""


def plain(entry: str) -> None:
    """Take one entry, on a thread."""


async def many(entries: list[str]) -> None:
    """Take a batch."""


def plain_many(entries: list[str]) -> None:
    """Take a batch, on a thread."""


@pytest.mark.parametrize(
    ("function", "options", "expected"),
    [
        (one, {}, Limits(10, 10, 10, 10, 1)),
        (one, {"batch_size": 500}, Limits(500, 500, 500, 500, 1)),
        (one, {"concurrency": 1}, Limits(1, 1, 1, 1, 1)),
        (one, {"concurrency": 50}, Limits(50, 50, 50, 10, 1)),
        (plain, {"batch_size": 500}, Limits(32, 32, 32, 32, 1)),
        (plain, {"concurrency": 500}, Limits(32, 32, 32, 10, 1)),
        (many, {}, Limits(10, 10, 10, 10, 10)),
        (many, {"concurrency": 1}, Limits(1, 1, 10, 10, 10)),
        (many, {"concurrency": 4, "batch_size": 50}, Limits(4, 4, 200, 50, 50)),
        (plain_many, {"batch_size": 500}, Limits(32, 32, 500, 500, 500)),
        (plain_many, {"concurrency": 40, "batch_size": 5}, Limits(32, 32, 160, 5, 5)),
    ],
)
@pytest.mark.parametrize("kind", ["list", "stream"])
def test_limits_of_lists_and_streams(kind: str, function: Any, options: dict[str, Any], expected: Limits) -> None:
    """Without a concurrency, there are as many calls as entries are taken at once, or one batch."""
    app = App()
    (app.list_trigger if kind == "list" else app.stream_trigger)(keys="k", **options)(function)
    assert Limits.of(app.functions[function.__name__]) == expected


@pytest.mark.parametrize(
    ("function", "options", "expected"),
    [
        (one, {}, Limits(1, 10, 100, 100, 1)),
        (one, {"concurrency": 500}, Limits(500, 500, 500, 500, 1)),
        (plain, {"concurrency": 500}, Limits(32, 32, 100, 100, 1)),
        (many, {}, Limits(1, 10, 100, 100, 100)),
        (many, {"concurrency": 3}, Limits(3, 10, 300, 100, 100)),
        (many, {"concurrency": 1000}, Limits(1000, 1000, 10_000, 100, 100)),
    ],
)
def test_limits_of_pubsub(function: Any, options: dict[str, Any], expected: Limits) -> None:
    """Messages are taken before their calls may run, as no other instance gets them."""
    app = App()
    app.pubsub_trigger(channel="c", **options)(function)
    assert Limits.of(app.functions[function.__name__]) == expected
