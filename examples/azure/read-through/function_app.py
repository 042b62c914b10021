"""Fills a cache from the database when a key is missed."""

import json
import logging
import os
import sqlite3

import azure.functions as func
from invalidation import invalidation

app = func.FunctionApp()
app.register_functions(invalidation)


@app.function_name("FillCache")
@app.generic_trigger(
    arg_name="event", type="redisPubSubTrigger", connection="redisConnectionString", channel="__keyevent@0__:keymiss"
)
@app.generic_output_binding(arg_name="entry", type="redis", connection="redisConnectionString", command="SET")
def fill_cache(event: str, entry: func.Out[str]) -> None:
    """Set the key that was missed, if the database has it. A value with spaces would be several arguments."""
    key = json.loads(event)["Message"]
    with sqlite3.connect(os.environ["DATABASE"]) as database:
        found = database.execute("SELECT value FROM products WHERE key = ?", (key,)).fetchone()
    if found is not None:
        entry.set(f"{key} {found[0]}")
        logging.info("filled %s", key)
