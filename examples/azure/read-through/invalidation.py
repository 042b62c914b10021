"""Removes keys from the cache when their products change in the database."""

import json
import logging

import azure.functions as func

invalidation = func.Blueprint()


@invalidation.function_name("Invalidate")
@invalidation.generic_trigger(
    arg_name="entry", type="redisStreamTrigger", connection="redisConnectionString", key="products:changed"
)
@invalidation.generic_output_binding(
    arg_name="$return", type="redis", connection="redisConnectionString", command="DEL"
)
def invalidate(entry: str) -> str:
    """Have the key deleted. The program that changes a product adds an entry, which waits for this function."""
    key: str = json.loads(entry)["Values"]["key"]
    logging.info("invalidating %s", key)
    return key
