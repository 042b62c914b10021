"""`--reload`: which changes are noticed, and what happens to the work in progress."""

import json
import re
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio
import yaml

from tests.support.programs.commands import running_command
from tests.support.waiting import eventually
from tests.triggerfish.reloading.apps import APP, COMMANDS, handled, handles, source, write
from triggerfish.testing.server import Server

pytestmark = [pytest.mark.releases("valkey-9.1"), pytest.mark.timeout(240)]


@pytest.fixture(params=[*COMMANDS.values()], ids=[*COMMANDS])
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """A command that reloads."""
    found: tuple[str, ...] = request.param
    return found


async def test_a_change(server: Server, client: redis.asyncio.Redis, tmp_path: Path, options: tuple[str, ...]) -> None:
    """The changed app takes new elements while the old one finishes its call. Each element is handled once."""
    write(tmp_path / "shop.py", APP)
    with running_command(tmp_path, *options, "shop.py", CONNECTION=server.address) as command:
        await client.set("hold:held", "1")
        await client.rpush("orders", "held")
        await eventually(lambda: client.llen("started"), seconds=60)
        write(tmp_path / "shop.py", source("two"))
        await command.logged("shop.py changed: loading the app")
        await command.logged("draining")
        await client.rpush("orders", *range(20))
        await eventually(lambda: _handled_by(client, "two", 20), seconds=60)
        assert not await _handled_by(client, "one", 1)
        await client.delete("hold:held")
        await eventually(lambda: _handled_by(client, "one", 1))
        assert await command.terminate() == 0
    assert sorted(await handled(client)) == sorted(["one held", *(f"two {number}" for number in range(20))])
    assert "Traceback" not in command.errors


async def _is_handled(client: redis.asyncio.Redis, line: str) -> bool:
    return line in await handled(client)


async def _handled_by(client: redis.asyncio.Redis, version: str, wanted: int) -> bool:
    return sum(line.startswith(f"{version} ") for line in await handled(client)) == wanted


BROKEN = {
    "syntax": ("def broken(:", ["SyntaxError", "  def broken(:\n"]),
    "import": ("raise ValueError('no luck')", ["ValueError: no luck", "Traceback (most recent", "raise ValueError("]),
    "app": ("del app", ["It has no app."]),
    "decorator": (
        "@app.list_trigger(keys='')\ndef more(order): ...",
        ["A key is empty", "in the decorator of `more`", "@app.list_trigger(keys='')\n"],
    ),
    "connection": ("app.list_trigger(keys='q', connection='cachee')(lambda order: None)", ["invalid connection"]),
    "exit": ("os._exit(7)", ["importing the app has ended the process with status 7"]),
}


@pytest.mark.parametrize(
    ("command_name", "kind"), [*(("run", kind) for kind in BROKEN), ("up", "syntax"), ("up", "connection")]
)
async def test_a_mistake(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, command_name: str, kind: str
) -> None:
    """An app that cannot be loaded is shown with its traceback, and the old one goes on until the next change."""
    mistake, shown = BROKEN[kind]
    write(tmp_path / "shop.py", APP)
    with running_command(tmp_path, *COMMANDS[command_name], "shop.py", CONNECTION=server.address) as command:
        await handles(client, "one")
        write(tmp_path / "shop.py", f"{source('two')}\n{mistake}\n")
        await command.logged("the app that runs goes on until a file changes")
        assert all(text in command.errors for text in shown), command.errors
        await client.delete("handled")
        await handles(client, "one")
        write(tmp_path / "shop.py", source("three"))
        await handles(client, "three")
        assert await command.terminate() == 0
    assert "two probe" not in await handled(client)
    assert "exited with status" not in command.errors


async def test_a_mistake_at_the_start(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """If the app cannot be loaded at the start, the command waits for a change."""
    write(tmp_path / "shop.py", f"import missing_of_shop\n{APP}")
    with running_command(tmp_path, *options, "shop.py", CONNECTION=server.address) as command:
        await command.logged("waiting until a file changes")
        assert "No module named 'missing_of_shop' was found" in command.errors
        (tmp_path / "missing_of_shop").mkdir()
        write(tmp_path / "missing_of_shop" / "__init__.py", "")
        await handles(client, "one")
        assert await command.terminate() == 0


async def test_triggers_that_change(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """`up` scales by the triggers of the changed app, and forgets those that are gone."""
    write(tmp_path / "shop.py", APP)
    with running_command(tmp_path, *COMMANDS["up"], "shop.py", CONNECTION=server.address) as command:
        await handles(client, "one")
        changed = source("two").replace('keys="orders"', 'keys="returns"').replace("handle(", "take_back(")
        write(tmp_path / "shop.py", changed)
        await client.rpush("returns", "x")
        await command.logged("has drained")
        await client.rpush("orders", "unread")
        await eventually(lambda: _is_handled(client, "two x"), seconds=60)
        [address] = re.findall(r"status page: (http://\S+)", command.errors)
        listed = json.loads(await _read(f"{address}api/v1/triggers"))["triggers"]
        assert [trigger["reads"] for trigger in listed] == ["list returns"]
        assert await command.terminate() == 0
    assert b"unread" in await client.lrange("orders", 0, -1)


async def _read(url: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.read()


LAYOUTS = {
    "a neighbour": ("shop.py", "version_of_shop.py", "shop.py"),
    "a package": ("src/shop/app.py", "src/version_of_shop.py", "src/shop/app.py"),
    "a module": ("shop/app.py", "version_of_shop.py", "shop.app"),
    "a linked folder": ("real/shop.py", "real/version_of_shop.py", "linked/shop.py"),
    "a linked folder in the folder": ("shop.py", "elsewhere/version_of_shop/__init__.py", "shop.py"),
    "another folder": ("shop.py", "elsewhere/version_of_shop.py", "shop.py"),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
async def test_a_module_that_changes(
    server: Server,
    client: redis.asyncio.Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: tuple[str, str, str],
) -> None:
    """A module that the app imports is noticed wherever it is, through links, and elsewhere on Python's path."""
    app, module, reference = layout
    project = tmp_path / "project"
    for path, text in ((app, APP.replace('VERSION = "one"', "from version_of_shop import VERSION")), (module, "")):
        file = (tmp_path if "elsewhere" in path else project) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text or "VERSION = 'one'\n")
        if "shop/" in path:
            (file.parent / "__init__.py").touch()
    changed = (tmp_path if "elsewhere" in module else project) / module
    if "linked" in reference:
        (project / "linked").symlink_to(project / "real")
    if module.endswith("__init__.py"):
        (project / "version_of_shop").symlink_to(changed.parent)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere") if module == "elsewhere/version_of_shop.py" else "")
    with running_command(project, *COMMANDS["run"], reference, CONNECTION=server.address) as command:
        await handles(client, "one")
        changed.write_text("VERSION = 'two'\n")
        await handles(client, "two")
        assert await command.terminate() == 0
    assert f"{changed.name} changed: loading the app" in command.errors


async def test_a_declaration_that_changes(server: Server, client: redis.asyncio.Redis, tmp_path: Path) -> None:
    """A change of the declaration file is noticed, and so is one of a module with its handlers."""
    declared = {"functions": {"f": {"handler": "shop:handle", "type": "RedisListTrigger", "keys": "orders"}}}
    write(tmp_path / "shop.py", undecorated("one"))
    write(tmp_path / "app.yaml", yaml.safe_dump(declared))
    with running_command(tmp_path, *COMMANDS["run"], "app.yaml", CONNECTION=server.address) as command:
        await handles(client, "one")
        declared["functions"]["f"]["keys"] = "returns orders"
        write(tmp_path / "app.yaml", yaml.safe_dump(declared))
        await client.rpush("returns", "x")
        await eventually(lambda: _is_handled(client, "one x"), seconds=60)
        write(tmp_path / "shop.py", undecorated("two"))
        await handles(client, "two")
        assert await command.terminate() == 0


def undecorated(version: str) -> str:
    """Return a module with the function of the app, which a declaration file names."""
    return re.sub(r"@app\.list_trigger\(.*\)", "", source(version))
