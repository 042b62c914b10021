"""What a reload knows of an app that another process has imported."""

import os
from pathlib import Path

from triggerfish.reloading.loaded import load_in_process

BATCHES = """
from triggerfish import App

app = App("shop")


@app.stream_trigger(keys="payments", batch_size=50, batch_window_ms=500)
def settle(payments: list[dict]) -> None: ...


@app.list_trigger(keys="orders")
def handle_order(order: dict) -> None: ...
"""


async def test_a_function_that_takes_a_list_keeps_its_window(tmp_path: Path) -> None:
    """The parameters of its trigger are valid only for a function that takes a list."""
    (tmp_path / "shop.py").write_text(BATCHES)
    loaded = await load_in_process(str(tmp_path / "shop.py"), os.environ, None)
    assert loaded.app is not None
    functions = loaded.app.functions
    assert {name: function.binding.batch for name, function in functions.items()} == {
        "settle": True,
        "handle_order": False,
    }
    assert getattr(functions["settle"].trigger, "batch_window_ms", None) == 500
