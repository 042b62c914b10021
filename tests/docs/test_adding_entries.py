"""The pages on adding entries and on larger apps: what they show works."""

import asyncio
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import redis.asyncio

from listeners.functions.loading import load_app
from tests.docs.blocks import DOCS, blocks, named_files
from tests.support.programs.commands import running_command
from tests.support.programs.environment import environment
from tests.support.running_host import RunHost
from tests.support.waiting import eventually
from triggerfish import App
from triggerfish.finding import find_app
from triggerfish.testing.server import Server

ADDING = DOCS / "how-to" / "adding-entries.md"
MODULES = DOCS / "how-to" / "several-modules.md"
SECONDS = 60


@pytest.mark.releases("valkey-9.1")
async def test_what_is_added_is_handled(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """The functions of the page handle what its program adds: a list element, a stream entry and a message."""
    for name, text in named_files(ADDING).items():
        (tmp_path / name).write_text(text)
    with running_command(tmp_path, "run", "shop.py", CONNECTION=server.address) as command:
        await eventually(lambda: _listens(client))
        environ = {**environment(), "SHOP_REDIS": f"redis://{server.address}"}
        add = [sys.executable, "add.py"]
        await asyncio.to_thread(subprocess.run, add, cwd=tmp_path, env=environ, timeout=SECONDS, check=True)
        for line in ("order 1", "payment 1 card", "price 1.09"):
            await eventually(lambda line=line: line in command.output)  # type: ignore[misc]
        assert await command.terminate() == 0


async def _listens(client: redis.asyncio.Redis) -> bool:
    return await client.pubsub_numpat() == 1


@pytest.mark.releases("valkey-9.1", "redis-5.0")
@pytest.mark.parametrize(("line", "handled"), [(None, ["1", "2"]), (0, ["2"]), (1, ["2"])], ids=["none", "$", "ID"])
async def test_where_a_group_starts(
    server: Server, client: redis.asyncio.Redis, run_host: RunHost, line: int | None, handled: list[str]
) -> None:
    """A new group starts at the beginning, and one that was made before with the page's commands where they say."""
    first = await client.xadd("payments", {"number": "1"})
    if line is not None:
        commands = re.findall(r"^\$ redis-cli (XGROUP CREATE .*?) +#", ADDING.read_text(), re.MULTILINE)
        after = first.decode() if isinstance(first, bytes) else str(first)
        await client.execute_command(*shlex.split(commands[line].replace("1790000000000-0", after)))
    await client.xadd("payments", {"number": "2"})
    app, got = App("shop"), list[str]()

    @app.stream_trigger(keys="payments", consumer_group="billing", concurrency=1)
    async def settle(payment: dict[str, str]) -> None:
        got.append(payment["number"])

    async with run_host(app):
        await eventually(lambda: got[-1:] == ["2"])
    assert got == handled


def _layouts() -> list[dict[str, str]]:
    """Return the files of each layout on the page, by their paths."""
    named = [re.match(r"# (shop/\w+\.py)\n", block) for block in blocks(MODULES, "py")]
    files = [(match[1], block) for match, block in zip(named, blocks(MODULES, "py"), strict=True) if match]
    return [dict(files[:3]), dict(files[3:])]


@pytest.mark.parametrize("layout", [0, 1], ids=["declared in one place", "decorated"])
@pytest.mark.parametrize("way", ["file", "module", "found"])
def test_the_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: int, way: str) -> None:
    """Each way to run an app of several modules finds all of its functions."""
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    for path, text in _layouts()[layout].items():
        (tmp_path / path).write_text(text)
    shown = re.findall(r"^\$ triggerfish up (\S+)$", MODULES.read_text(), re.MULTILINE)
    reference = {"file": shown[0], "module": shown[1], "found": find_app(tmp_path, "up")}[way]
    assert reference in ("shop/app.py", "shop.app")
    try:
        assert list(load_app(reference).functions) == ["handle_order", "settle"]
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
            del sys.modules[name]
