"""Execute what the host of a list or stream executes, with its own code, on keys made for it in place of the user's.

The keys are beside those derived from the user's keys: in the same slot, and with the same rights.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import replace

from prometheus_client import CollectorRegistry

from listeners.checks.temporary_keys import expiry, removed
from listeners.connections.spec import ConnectionSpec
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.engine.settlement import Failure, Outcome, Settlement
from listeners.engine.source import LeasedSource
from listeners.errors import SourceTimeoutError
from listeners.functions.app import Function
from listeners.functions.entries import Entry, by_key
from listeners.functions.triggers import ListTrigger, StreamTrigger, keys_read
from listeners.host.clients import Clients
from listeners.host.sources import MAX_BYTES, source_for
from listeners.keys import check_key, dead_letters_key, elements_key, inflight_key
from listeners.redis.client import Client
from listeners.settings import HostSettings

__all__ = ["try_lists_or_streams"]

#: What becomes of each key's entries: their calls succeed, fail for now, fail for good, and do not begin.
OUTCOMES = (Outcome.SUCCEEDED, Outcome.RETRIED, Outcome.DEAD_LETTERED, None)
FAILURE = Failure("triggerfish check")
#: How long the entries of one step may take to come. All of them are available, so only a slow server needs time.
TAKE_SECONDS = 5.0
#: An element that is never due, in `inflight` and in `elements` (lists/scripts/common.lua). It keeps these keys from
#: becoming empty: Redis would remove them, and make them again without an expiry.
NEVER_ID, NEVER_MS = "check", 2**52


async def try_lists_or_streams(
    function: Function,
    trigger: ListTrigger | StreamTrigger,
    client: Client,
    spec: ConnectionSpec,
    settings: HostSettings,
) -> None:
    """Take, renew, settle and release entries of made keys. Raises SourceError for the first step that fails."""
    token = secrets.token_hex(6)
    server = await client.server()
    keys = tuple(check_key(key, token) for key in keys_read(trigger, multi_pop=server.supports(7)))
    instead = trigger.model_copy(update={"keys": keys})
    clients = Clients(f"triggerfish:check:{token}", on_untold=lambda: None)
    shared = clients.of(spec)
    source = source_for(
        replace(function, trigger=instead),
        shared,
        settings,
        app_name="check",
        instance=f"check-{token}",
        metrics=FunctionMetrics(HostMetrics(CollectorRegistry()), "check", function.name),
    )
    assert isinstance(source, LeasedSource)  # noqa: S101  (those of lists and streams are)
    async with (
        removed(client, (made for key in keys for made in _keys_made(key))),
        contextlib.AsyncExitStack() as stack,
    ):
        stack.push_async_callback(clients.aclose)
        stack.push_async_callback(shared.leases.aclose)
        stack.push_async_callback(source.close)
        for key in keys:
            await client.transaction(key, list(_making(instead, key)), doing=f"making {key!r}")
        await source.open()
        at_most_once = isinstance(trigger, ListTrigger) and trigger.delivery == "at-most-once"
        await _use(source, len(keys), retries=0 if at_most_once else len(keys))
        for key in keys:  # a list that was empty in between has been made again
            await client.command(key, *expiry(key), doing=f"letting {key!r} expire")


async def _use(source: LeasedSource, keys: int, *, retries: int) -> None:
    """Do with the entries what a host does. `retries`: how many come again."""
    entries = await _take(source, keys * len(OUTCOMES))
    await source.renewal().renew(entries)
    released: list[Entry] = []
    settlements: list[Settlement] = []
    for _, of_key in by_key(entries):
        for entry, outcome in zip(of_key, OUTCOMES, strict=True):
            if outcome is None:
                released.append(entry)
            else:
                settlements.append(Settlement(entry, outcome, failure=FAILURE))
    for refusal in await source.settle(settlements):
        raise refusal.error
    again = await _take(source, retries)
    await source.settle_and_take(again, 1, MAX_BYTES)
    await source.release(released)


async def _take(source: LeasedSource, number: int) -> list[Entry]:
    """Take at least this many entries. Raises SourceError if fewer come in time."""
    entries: list[Entry] = []
    try:
        async with asyncio.timeout(TAKE_SECONDS):
            while len(entries) < number:
                entries += await source.take(number - len(entries), MAX_BYTES)
    except TimeoutError:
        raise SourceTimeoutError(
            f"of {number} entries written, only {len(entries)} were returned within {TAKE_SECONDS:g} s. Make sure that "
            "nothing else removes keys that begin with triggerfish:, and that the address leads to one primary only"
        ) from None
    return entries


def _keys_made(key: str) -> tuple[str, ...]:
    return key, dead_letters_key(key), inflight_key(key), elements_key(key)


def _making(trigger: ListTrigger | StreamTrigger, key: str) -> Iterator[tuple[object, ...]]:
    """Yield the commands that make a key with an entry for each outcome, and the keys that the host derives from it,
    so that they expire from the beginning.
    """
    if isinstance(trigger, StreamTrigger):
        yield from [("XADD", key, "*", "check", "1")] * len(OUTCOMES)
    else:
        yield ("RPUSH" if trigger.list_pop_from_beginning else "LPUSH", key, *["check"] * len(OUTCOMES))
        if trigger.delivery == "at-least-once":
            yield ("ZADD", inflight_key(key), NEVER_MS, f"{NEVER_ID}:w0:{NEVER_MS}")
            yield ("HSET", elements_key(key), NEVER_ID, "1:")
    yield ("XADD", dead_letters_key(key), "*", "check", "1")
    yield from map(expiry, _keys_made(key))
