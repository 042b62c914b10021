"""`triggerfish up`: what its table shows."""

import asyncio
from pathlib import Path

from rich.console import Console

from listeners.functions.loading import load_app
from scaler.local_app import LocalApp
from scaler.settings import load_settings
from tests.support.waiting import eventually
from triggerfish.cli.up import snapshot
from triggerfish.testing.server import free_port

APP = """
from triggerfish import App
app = App()

@app.list_trigger(keys="orders")
def handle(order: str) -> None: ...

@app.list_trigger(keys="returns")
def take_back(order: str) -> None: ...
"""


async def test_the_cause_below_the_table(tmp_path: Path) -> None:
    """While Redis cannot be reached, the cause is shown once below the table, however many triggers it affects."""
    file = tmp_path / "shop.py"
    file.write_text(APP)
    address = f"127.0.0.1:{free_port()}"
    ports = {"grpc_port": 0, "http_port": 0}
    local = LocalApp(str(file), load_app(str(file)), load_settings(None, connection=address, scaler=ports))
    console = Console(width=200)

    def shown() -> str:
        with console.capture() as captured:
            console.print(snapshot(local))
        return captured.get()

    running = asyncio.create_task(local.run())
    try:
        await eventually(lambda: f"connecting to {address} was refused" in shown())
        assert shown().count("was refused") == 1
        assert "list orders: unavailable" in shown()
    finally:
        local.stop()
        await running
