"""dramatiq: messages fetched and acknowledged by scripts, at least once. Its threads run in this process."""

import threading
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.worker import Worker

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import PAYLOAD
from benchmarks.peers.workers.parameters import ENTRIES, URL, perform, scenario

tally = Tally()
lock = threading.Lock()
broker = RedisBroker(url=URL)


def handle(_payload: str) -> None:
    """Handle one message; the threads share the tally."""
    with lock:
        tally.handled()


actor = dramatiq.actor(handle, broker=broker)


def work() -> None:
    """Run the default of eight threads."""
    worker = Worker(broker)
    worker.queue_prefetch = scenario().batch
    worker.start()
    while True:
        time.sleep(1)


def fill() -> None:
    """Send messages."""
    for _ in range(ENTRIES):
        actor.send(PAYLOAD)


if __name__ == "__main__":
    perform(fill=fill, work=work)
