"""dramatiq: a hash with every message that is not acknowledged, beside a list and sets of their identifiers."""

import signal

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.worker import Worker

from benchmarks.queues.programs.truth import SLOTS, URL, numbers, perform, run, sent

broker = RedisBroker(url=URL)
job = dramatiq.actor(run, actor_name="job", queue_name="jobs", broker=broker)


def send() -> None:
    """Send messages."""
    for number in numbers():
        job.send(number)
        sent(number)


def work() -> None:
    """Run messages in threads."""
    worker = Worker(broker, worker_threads=SLOTS)
    worker.start()
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.pause()
    worker.stop()


if __name__ == "__main__":
    perform(send=send, work=work)
