"""RQ: one job at a time. `SimpleWorker` runs it in its own process, which is the fastest mode."""

from redis import Redis
from rq import Queue, Retry, SimpleWorker

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import PAYLOAD
from benchmarks.peers.workers.parameters import ENTRIES, URL, perform

PAGE = 1000
NAME = "benchmarks.peers.workers.rq_worker.handle"
tally = Tally()


def handle(_payload: str) -> None:
    """Run one job."""
    tally.handled()


def work() -> None:
    """Run jobs."""
    SimpleWorker([Queue(connection=Redis.from_url(URL))], connection=Redis.from_url(URL)).work(logging_level="ERROR")


def fill() -> None:
    """Enqueue jobs; their results are not stored."""
    queue = Queue(connection=Redis.from_url(URL))
    for at in range(0, ENTRIES, PAGE):
        jobs = range(min(PAGE, ENTRIES - at))
        queue.enqueue_many([Queue.prepare_data(NAME, (PAYLOAD,), result_ttl=0, retry=Retry(max=3)) for _ in jobs])


if __name__ == "__main__":
    perform(fill=fill, work=work)
