# test_running.py
from shop import app

from triggerfish.testing import running


async def test_the_whole_app() -> None:
    async with running(app) as host:
        await host.push("handle_order", '{"number": 1, "amount": 9.5}', '{"number": 2, "amount": -1}')
        await host.push("settle", {"method": "cash"})
        await host.until_idle()
        [letter] = await host.dead_letters("handle_order")
        assert letter.error == "Reject: negative amount"
        assert await host.client.llen("orders") == 0
