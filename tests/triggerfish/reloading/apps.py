"""An app whose versions tests write while it runs, and what is recorded of its calls."""

from pathlib import Path

import redis.asyncio

from tests.support.waiting import eventually

__all__ = ["APP", "COMMANDS", "handled", "handles", "source", "write"]

#: Calls add "VERSION element" to the lists `started` and `handled`. A call does not end while `hold:ELEMENT` exists.
APP = """
import asyncio
import os

import redis.asyncio

from triggerfish import App

app = App("shop")
client = redis.asyncio.Redis.from_url(f"redis://{os.environ['TRIGGERFISH_CONNECTION']}", protocol=2)
VERSION = "one"


@app.list_trigger(keys="orders", polling_interval_ms=50)
async def handle(order: str) -> None:
    await client.rpush("started", f"{VERSION} {order}")
    while await client.exists(f"hold:{order}"):
        await asyncio.sleep(0.01)
    await client.rpush("handled", f"{VERSION} {order}")
"""
#: Commands that reload an app, to which it is added.
COMMANDS = {
    "run": ("run", "--reload"),
    "up": ("up", "--reload", "--grpc-port", "0", "--http-port", "0"),
}


def source(version: str) -> str:
    """Return the app with another version."""
    return APP.replace('VERSION = "one"', f'VERSION = "{version}"')


def write(file: Path, text: str) -> None:
    """Replace a file in one step, as editors do."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text)
    new.rename(file)


async def handled(client: redis.asyncio.Redis, key: str = "handled") -> list[str]:
    """Return the calls that have ended, as "VERSION element"."""
    return [line.decode() for line in await client.execute_command("LRANGE", key, 0, -1)]


async def handles(client: redis.asyncio.Redis, version: str) -> None:
    """Wait until elements are handled by a version. Each element gets the name `probe`."""

    async def is_handled() -> bool:
        if not await client.exists("orders"):
            await client.rpush("orders", "probe")
        return f"{version} probe" in await handled(client)

    await eventually(is_handled, seconds=60)
