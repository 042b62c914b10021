"""Stores what was set in the cache. An event that nobody hears is lost, and so is what it tells of."""

import json
import logging

from ..shared.database import store


def main(event: str, value: str) -> None:
    """Store the value of the key of a `set` event, unless the key is gone again."""
    key = json.loads(event)["Message"]
    if value is not None:
        store(key, value)
        logging.info("stored %s", key)
