"""Celery: BRPOP, a hash of unacknowledged tasks, and `acks_late` for at least once. One process runs the tasks."""

import celery

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import PAYLOAD
from benchmarks.peers.workers.parameters import ENTRIES, URL, perform, scenario

tally = Tally()
app = celery.Celery("bench", broker=URL)
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=scenario().batch,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
)


def handle(_payload: str) -> None:
    """Run one task."""
    tally.handled()


task = app.task(handle, name="handle")


def work() -> None:
    """Run tasks in the pool `solo`, the fastest one that needs no other process."""
    app.worker_main(["--quiet", "worker", "--pool=solo", "--without-gossip", "--without-mingle", "-l", "ERROR"])


def fill() -> None:
    """Send tasks."""
    for _ in range(ENTRIES):
        task.delay(PAYLOAD)


if __name__ == "__main__":
    perform(fill=fill, work=work)
