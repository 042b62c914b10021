"""The settings of a program that runs an app itself are those that the commands would use."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio

from tests.support.waiting import eventually
from triggerfish import App, ConfigurationError, Host, load_settings
from triggerfish.env_file import apply_env_file
from triggerfish.settings import load_settings_with
from triggerfish.testing import Server


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test in an empty folder, and without settings in the environment before and after it."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TRIGGERFISH_")]:
        monkeypatch.delenv(name)
    yield
    (tmp_path / ".env").unlink(missing_ok=True)
    apply_env_file(None)


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize("place", [".env", "file of variables", "environment", "settings file", "TRIGGERFISH_CONFIG"])
async def test_an_embedded_app(
    server: Server, client: redis.asyncio.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A Host gets its connections and its settings from where `triggerfish run` gets them."""
    variables = {"TRIGGERFISH_CONNECTION": server.address, "TRIGGERFISH_HOST__LEASE_SECONDS": "7"}
    config, env_file = None, None
    if place == "environment":
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    elif place in (".env", "file of variables"):
        (tmp_path / place).write_text("\n".join(f"{name}={value}" for name, value in variables.items()))
        env_file = None if place == ".env" else place
    else:
        (tmp_path / "settings.yaml").write_text(f"connection: {server.address}\nhost:\n  lease_seconds: 7\n")
        config = "settings.yaml" if place == "settings file" else None
        if config is None:
            monkeypatch.setenv(place, "settings.yaml")
    app, handled = App("shop"), list[str]()

    @app.list_trigger(keys="orders")
    async def handle(order: str) -> None:
        handled.append(order)

    settings = load_settings(config, env_file=env_file)
    assert settings.host.lease_seconds == 7
    await client.rpush("orders", "x")
    async with Host(app, settings.redis_connections(), settings.host):
        await eventually(lambda: handled == ["x"])


@pytest.mark.releases("valkey-9.1")
@pytest.mark.parametrize("given", [False, True], ids=["settings", "address"])
async def test_running_an_app(
    server: Server, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch, given: bool
) -> None:
    """`app.run()` runs until it is cancelled; calls in progress are cancelled then, and their entries released."""
    monkeypatch.setenv("TRIGGERFISH_CONNECTION", "127.0.0.1:1" if given else server.address)
    app, events, gate = App("shop"), list[str](), asyncio.Event()

    @app.list_trigger(keys="orders")
    async def handle(order: str) -> None:
        events.append(order)
        try:
            await gate.wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    await client.rpush("orders", "x")
    running = asyncio.create_task(app.run(server.address) if given else app.run())
    await eventually(lambda: events == ["x"])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert events == ["x", "cancelled"]
    gate.set()
    again = asyncio.create_task(app.run(server.address))
    await eventually(lambda: events == ["x", "cancelled", "x"])
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again


async def test_an_app_that_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the settings, or in a trigger, is raised."""
    app = App("shop")

    @app.list_trigger(keys="orders", connection="missing")
    async def handle(order: str) -> None:
        raise AssertionError(order)

    with pytest.raises(ConfigurationError, match="missing"):
        await app.run("127.0.0.1:6379")
    monkeypatch.setenv("TRIGGERFISH_HOST__LEASE_SECONDS", "soon")
    with pytest.raises(ConfigurationError, match=r"host\.lease_seconds"):
        await app.run()


def test_an_option_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    """A mistake in an option, which comes before the file, is not said to be in the file."""
    (tmp_path / ".env").write_text("TRIGGERFISH_CONNECTION=127.0.0.1\nTRIGGERFISH_HOST__LEASE_SECONDS=5\n")
    apply_env_file(None)
    for connection, host in (("http://localhost", {}), (None, {"lease_seconds": "soon"})):
        with pytest.raises(ConfigurationError) as raised:
            load_settings_with(None, connection, host=host)
        assert "It is set in" not in str(raised.value)


def test_mistakes(tmp_path: Path) -> None:
    """They are those of the commands: the line of the variable is named."""
    (tmp_path / ".env").write_text("A=1\nTRIGGERFISH_HOST__LEASE_SECONDS=soon\n")
    with pytest.raises(ConfigurationError, match=r"host\.lease_seconds.*It is set in \.env, line 2"):
        load_settings()
    with pytest.raises(ConfigurationError, match="There is no such file"):
        load_settings("nothing.yaml", env_file=tmp_path / ".env")
