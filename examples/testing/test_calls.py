# test_calls.py
from unittest.mock import AsyncMock

from shop import app, handle_order, settle, ship

from triggerfish import Reject
from triggerfish.testing import call, call_sync


def test_a_negative_amount_becomes_a_dead_letter() -> None:
    result = call_sync(app, handle_order, '{"number": 1, "amount": -1}')
    assert result.dead_lettered
    assert isinstance(result.exception, Reject)


def test_an_invalid_order_becomes_a_dead_letter() -> None:
    result = call_sync(app, "handle_order", '{"number": "x"}')
    assert result.error.startswith("Reject: not a valid Order: number: ")


def test_a_payment_is_retried_and_then_given_up() -> None:
    first, last = (call_sync(app, settle, {"method": "card"}, deliveries=number) for number in (1, 5))
    assert first.retried
    assert 0.75 <= first.delay_seconds <= 1
    assert last.dead_lettered


async def test_a_batch() -> None:
    results = await call(app, settle, [{"method": "cash"}, {"method": "card"}])
    assert all(result.retried and result.delay_seconds == 0 for result in results)  # each alone, as one of them failed


async def test_a_function_that_uses_redis() -> None:
    client = AsyncMock()  # or fakeredis.FakeAsyncRedis(), or a client for a Server
    assert (await call(app, ship, "book", state={"book": 3}, redis=client)).succeeded
    client.incrby.assert_awaited_once_with("shipped:book", 3)
