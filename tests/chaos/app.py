"""The app under test. Its functions take a few milliseconds, some raise, and every call is recorded."""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.records import Fate, Moment, Recorder, fate
from triggerfish import App, RedisMessage, Reject, Retry

LISTS = ("chaos:list:1", "chaos:list:2")
STREAM = "chaos:stream:kept"
EMPTIED_STREAM = "chaos:stream:emptied"
CHANNEL = "chaos:channel"
GROUP = "chaos"

#: Largest number of entries in progress per function and process.
BATCH_SIZE = 10
#: Deliveries also count lost replies and crashes. This is enough that faults alone never dead-letter an entry.
MAX_DELIVERIES = 12
#: Most calls are short, some last longer, and a few outlast their lease, which must be renewed meanwhile.
MAX_SHORT_CALL_SECONDS = 0.01
MAX_LONG_CALL_SECONDS = 0.5
LONG_CALL_SHARE = 0.01
RENEWED_CALL_SHARE = 0.001

app = App("chaos")
_seed = int(os.environ.get("CHAOS_SEED", "0"))
_lease_seconds = float(os.environ.get("TRIGGERFISH_HOST__LEASE_SECONDS", "30"))
_recorder: Recorder | None = None


@app.list_trigger(keys=LISTS, batch_size=BATCH_SIZE, max_deliveries=MAX_DELIVERIES, polling_interval_ms=500)
async def on_element(message: RedisMessage) -> None:
    """Handle an element of one of the lists."""
    await _handle(message, message.message)


@app.stream_trigger(
    keys=STREAM, consumer_group=GROUP, batch_size=BATCH_SIZE, max_deliveries=MAX_DELIVERIES, polling_interval_ms=200
)
async def on_entry(message: RedisMessage) -> None:
    """Handle an entry of the stream that keeps its entries."""
    await _handle(message, _payload(message))


@app.stream_trigger(
    keys=EMPTIED_STREAM,
    consumer_group=GROUP,
    batch_size=BATCH_SIZE,
    max_deliveries=MAX_DELIVERIES,
    polling_interval_ms=200,
    delete_after_process=True,
)
def on_batch(messages: list[RedisMessage]) -> None:
    """Handle, on a thread, a batch of the stream whose entries are deleted once handled."""
    _record(Moment.STARTED, messages)
    time.sleep(_call_seconds())
    try:
        for message in messages:
            _raise_if_fated(message, _payload(message))
    except Exception:
        _record(Moment.FAILED, messages)
        raise
    _record(Moment.HANDLED, messages)


@app.pubsub_trigger(channel=CHANNEL, concurrency=10)
async def on_message(message: RedisMessage) -> None:
    """Handle a message on the channel."""
    recorder().write(Moment.STARTED, message.message, message.deliveries, message.epoch)
    await asyncio.sleep(_call_seconds())
    recorder().write(Moment.HANDLED, message.message, message.deliveries, message.epoch)


def recorder() -> Recorder:
    """Return this process's recorder, opened at the first call."""
    global _recorder  # noqa: PLW0603  (functions get nothing but their message)
    if _recorder is None:
        _recorder = Recorder(Path(os.environ["CHAOS_RECORDS"]), os.environ["TRIGGERFISH_INSTANCE"])
    return _recorder


async def _handle(message: RedisMessage, payload: str) -> None:
    recorder().write(Moment.STARTED, payload, message.deliveries, None)
    await asyncio.sleep(_call_seconds())
    try:
        _raise_if_fated(message, payload)
    except Exception:
        recorder().write(Moment.FAILED, payload, message.deliveries, None)
        raise
    recorder().write(Moment.HANDLED, payload, message.deliveries, None)


def _call_seconds() -> float:
    draw = random.random()
    if draw < RENEWED_CALL_SHARE:
        return _lease_seconds * 1.2
    return random.uniform(0, MAX_LONG_CALL_SECONDS if draw < LONG_CALL_SHARE else MAX_SHORT_CALL_SECONDS)


def _record(moment: Moment, messages: Sequence[RedisMessage]) -> None:
    for message in messages:
        recorder().write(moment, _payload(message), message.deliveries, None)


def _raise_if_fated(message: RedisMessage, payload: str) -> None:
    drawn = fate(_seed, payload)
    if drawn is Fate.IS_REJECTED:
        raise Reject("never handled")
    if message.deliveries == 1 and drawn is Fate.RAISES_ONCE:
        raise RuntimeError("raised once")
    if message.deliveries <= 2 and drawn is Fate.ASKS_FOR_RETRY:
        raise Retry("later", after_seconds=0.1)


def _payload(message: RedisMessage) -> str:
    """Return the payload, which the producer adds as the entry's only field."""
    assert message.fields is not None
    return next(iter(message.fields.values()))
