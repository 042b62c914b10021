"""Dead letters that are made without a host."""

import redis.asyncio

from listeners.dead_letters.letters import description_fields, entry_fields
from listeners.engine.settlement import Failure, Outcome, Settlement
from listeners.functions.entries import Entry
from listeners.keys import dead_letters_key

__all__ = ["add_letter", "letter_fields"]


def letter_fields(
    entry: Entry, function: str = "f", *, error: str = "ValueError: no good", where: str = "", traceback: str = ""
) -> list[bytes]:
    """Return the fields of an entry's dead letter."""
    settlement = Settlement(entry, Outcome.DEAD_LETTERED, failure=Failure(error, where, traceback))
    return description_fields(settlement, function) + entry_fields(entry)


async def add_letter(client: redis.asyncio.Redis, entry: Entry, function: str = "f", **failure: str) -> str:
    """Add an entry's dead letter, and return its ID."""
    fields = letter_fields(entry, function, **failure)
    added: bytes = await client.execute_command("XADD", dead_letters_key(entry.key), "*", *fields)
    return added.decode()
