# test_functions.py
import asyncio

import pytest
from shop import Order, app, handle_order

from triggerfish import Reject


def test_an_order_is_handled() -> None:
    assert asyncio.run(handle_order(Order(number=1, amount=9.5))) == "order 1"


def test_a_negative_amount_is_rejected() -> None:
    with pytest.raises(Reject, match="negative amount"):
        asyncio.run(handle_order(Order(number=1, amount=-1)))


def test_the_trigger() -> None:
    assert app.functions["settle"].trigger.reads == "stream payments as billing"
