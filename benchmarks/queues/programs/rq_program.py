"""RQ: a pool of workers that run one job each. Modes: `one` queue, or `two` queues that all workers read."""

from redis import Redis
from rq import Queue
from rq.worker_pool import WorkerPool

from benchmarks.queues.programs.truth import MODE, SLOTS, URL, numbers, perform, sent

NAMES = ("jobs", "mails") if MODE == "two" else ("jobs",)
JOB = "benchmarks.queues.programs.truth.run"


def send() -> None:
    """Enqueue jobs, in turns into each queue; their results are not stored."""
    queues = [Queue(name, connection=Redis.from_url(URL)) for name in NAMES]
    for number in numbers():
        queues[number % len(queues)].enqueue(JOB, number, result_ttl=0)
        sent(number)


def work() -> None:
    """Run jobs in a process for each slot, which starts a process for each job."""
    WorkerPool(list(NAMES), connection=Redis.from_url(URL), num_workers=SLOTS).start(logging_level="ERROR")


if __name__ == "__main__":
    perform(send=send, work=work)
