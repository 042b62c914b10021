"""Stores what was added to a stream. An entry stays there until it is stored, whatever happens meanwhile."""

import json
import logging

import azure.functions as func

from ..shared.database import store


def main(entry: str, context: func.Context) -> str:
    """Store an order, and have its entry deleted."""
    order = json.loads(entry)
    store(order["Values"]["key"], order["Values"]["value"])
    logging.info("stored %s in call %d", order["Id"], context.retry_context.retry_count + 1)
    return f"orders {order['Id']}"
