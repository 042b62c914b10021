"""The page on developing: its examples work as shown."""

import contextlib
import sys
from pathlib import Path

import pytest
import redis.asyncio

from listeners.functions.loading import load_app
from tests.docs.blocks import DOCS, blocks, named_files
from tests.support.waiting import eventually
from triggerfish.finding import find_app
from triggerfish.testing.server import Server

PAGE = DOCS / "how-to" / "developing.md"


def test_the_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The factory makes an app, and is what a command finds."""
    monkeypatch.setattr("sys.path", [*sys.path])
    (tmp_path / "factory.py").write_text(next(one for one in blocks(PAGE, "py") if one.startswith("# factory.py")))
    found = find_app(tmp_path, "run")
    assert found == "factory.py:create_app"
    assert list(load_app(f"{tmp_path}/{found}").functions) == ["handle_order"]


@pytest.mark.releases("valkey-9.1")
async def test_the_lifespan_of_asgi(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The functions run within the lifespan that a web framework enters, on the Redis of the settings."""
    monkeypatch.setenv("TRIGGERFISH_CONNECTION", server.address)
    names: dict[str, object] = {}
    exec(named_files(PAGE)["embedded_in_asgi.py"], names)  # noqa: S102  (the page's own)
    lifespan = names["lifespan"]
    assert callable(lifespan)
    entered = lifespan(object())
    assert isinstance(entered, contextlib.AbstractAsyncContextManager)
    async with entered:
        await client.rpush("orders", "{}")
        await eventually(lambda: _settled(client))


async def _settled(client: redis.asyncio.Redis) -> bool:
    return not await client.exists("orders", "triggerfish:{orders}:elements")
