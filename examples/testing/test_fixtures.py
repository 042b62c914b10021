# test_fixtures.py
from triggerfish.testing import RunningApp, Server


async def test_orders_that_were_there_before(app_server: Server, running_app: RunningApp) -> None:
    app_server.client().rpush("orders", '{"number": 1, "amount": 9.5}')
    await running_app.until_idle()
    assert await running_app.dead_letters("handle_order") == []
