"""Records which jobs were sent, were started and have finished, in keys that the libraries do not know."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator

import redis

__all__ = ["MODE", "SLOTS", "URL", "numbers", "perform", "run", "run_async", "sent"]

URL = os.environ.get("QUEUE_URL", "redis://127.0.0.1:6379/0")
SECONDS = float(os.environ.get("QUEUE_SECONDS", "0.2"))
SLOTS = int(os.environ.get("QUEUE_SLOTS", "4"))
MODE = os.environ.get("QUEUE_MODE", "")
#: While this key exists, jobs that have started do not finish.
HOLD = "truth:hold"
HOLD_POLL_SECONDS = 0.02

truth: "redis.Redis" = redis.Redis.from_url(URL)


def numbers() -> Iterator[int]:
    """Return the numbers of the jobs to send, each as soon as its line has arrived."""
    for line in iter(sys.stdin.readline, ""):
        yield int(line)


def sent(number: int) -> None:
    """Record that a job is in its queue. A job is recorded late rather than early: the truth is never too high."""
    truth.sadd("truth:sent", number)


def run(number: int) -> None:
    """Run a job: record its start, take time, record its end."""
    truth.rpush("truth:started", number)
    time.sleep(SECONDS)
    while truth.exists(HOLD):
        time.sleep(HOLD_POLL_SECONDS)
    truth.sadd("truth:finished", number)


async def run_async(number: int) -> None:
    """Run a job on an event loop."""
    truth.rpush("truth:started", number)
    await asyncio.sleep(SECONDS)
    while truth.exists(HOLD):  # noqa: ASYNC110  (another process deletes it)
        await asyncio.sleep(HOLD_POLL_SECONDS)
    truth.sadd("truth:finished", number)


def perform(*, send: Callable[[], object], work: Callable[[], object]) -> None:
    """Do what the command line names."""
    {"send": send, "work": work}[sys.argv[1]]()
