"""The app under test. Its functions take a few milliseconds, some raise, hang or die, and every call is recorded."""

import asyncio
import ctypes
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.hosts.keys import CHANNEL, EMPTIED_STREAM, GROUP, LISTS, STREAM
from tests.chaos.records.calls import Moment, Recorder
from tests.chaos.records.fates import Fate, fate
from triggerfish import App, BatchError, RedisMessage, Reject, Retry

#: Largest number of entries in progress per function and process.
BATCH_SIZE = 10
#: Batches at once, how long they wait for more entries, and how many of those that fail do so as a whole.
CONCURRENT_BATCHES = 2
BATCH_WINDOW_MS = 50
WHOLE_FAILURE_SHARE = 0.5
#: As many calls as an entry needs whose function asks for a retry. So only deaths and hangs of its process can
#: dead-letter an entry that is neither rejected nor poison.
MAX_DELIVERIES = 3
#: The exit status of a process that a poison entry ends.
POISONED_STATUS = 86
#: Most calls are short, some last longer, and a few outlast their lease, which must be renewed meanwhile.
MAX_SHORT_CALL_SECONDS = 0.01
MAX_LONG_CALL_SECONDS = 0.5
LONG_CALL_SHARE = 0.01
RENEWED_CALL_SHARE = 0.001
#: How long calls last that outlast their lease, in leases.
OUTLASTING_LEASES = 1.2

app = App("chaos")
_seed = int(os.environ.get("CHAOS_SEED", "0"))
_lease_seconds = float(os.environ.get("TRIGGERFISH_HOST__LEASE_SECONDS", "30"))
_random = random.Random(f"{_seed} {os.environ.get('TRIGGERFISH_INSTANCE')}")
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
    concurrency=CONCURRENT_BATCHES,
    batch_window_ms=BATCH_WINDOW_MS,
    max_deliveries=MAX_DELIVERIES,
    polling_interval_ms=200,
    delete_after_process=True,
)
def on_batch(messages: list[RedisMessage]) -> None:
    """Handle, on a thread, a batch of the stream whose entries are deleted. It may fail in part, or as a whole."""
    _record(Moment.STARTED, messages)
    time.sleep(_call_seconds())
    failures: dict[int, Exception] = {}
    for at, message in enumerate(messages):
        try:
            _meet_fate(message, _payload(message))
        except Exception as error:  # noqa: BLE001  (whatever its fate raises)
            failures[at] = error
    if failures and _random.random() < WHOLE_FAILURE_SHARE:
        _record(Moment.FAILED, messages)
        raise next(iter(failures.values()))
    _record(Moment.FAILED, [messages[at] for at in failures])
    _record(Moment.HANDLED, [message for at, message in enumerate(messages) if at not in failures])
    if failures:
        raise BatchError(failures)


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
        _meet_fate(message, payload)
    except Exception:
        recorder().write(Moment.FAILED, payload, message.deliveries, None)
        raise
    recorder().write(Moment.HANDLED, payload, message.deliveries, None)


def _call_seconds() -> float:
    draw = _random.random()
    if draw < RENEWED_CALL_SHARE:
        return _lease_seconds * OUTLASTING_LEASES
    return _random.uniform(0, MAX_LONG_CALL_SECONDS if draw < LONG_CALL_SHARE else MAX_SHORT_CALL_SECONDS)


def _record(moment: Moment, messages: Sequence[RedisMessage]) -> None:
    for message in messages:
        recorder().write(moment, _payload(message), message.deliveries, None)


def _meet_fate(message: RedisMessage, payload: str) -> None:
    drawn = fate(_seed, payload)
    if drawn is Fate.ENDS_PROCESS:
        os._exit(POISONED_STATUS)
    if drawn is Fate.IS_REJECTED:
        raise Reject("never handled")
    if message.deliveries <= 2 and drawn is Fate.ASKS_FOR_RETRY:
        raise Retry("later", after_seconds=0.1)
    if message.deliveries > 1:
        return
    if drawn is Fate.RAISES_ONCE:
        raise RuntimeError("raised once")
    if drawn is Fate.BLOCKS_LOOP:
        time.sleep(_lease_seconds * OUTLASTING_LEASES)
    if drawn is Fate.HOLDS_GIL:  # neither the renewal of leases nor anything else runs meanwhile
        ctypes.PyDLL(None).usleep(int(_lease_seconds * OUTLASTING_LEASES * 1_000_000))


def _payload(message: RedisMessage) -> str:
    """Return the payload, which the producer adds as the entry's only field."""
    assert message.fields is not None
    return next(iter(message.fields.values()))
