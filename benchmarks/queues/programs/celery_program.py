"""Celery. Modes: `early` acknowledgement (its default), `late`, and `own` (late, with an unacked_key of its own)."""

import celery

from benchmarks.queues.programs.truth import MODE, SLOTS, URL, numbers, perform, run, sent

OWN = {"unacked_key": "unacked:jobs", "unacked_index_key": "unacked_index:jobs", "unacked_mutex_key": "mutex:jobs"}

app = celery.Celery("queues", broker=URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options=OWN if MODE == "own" else {},
    task_acks_late=MODE != "early",
    task_default_queue="jobs",
    task_ignore_result=True,
    worker_prefetch_multiplier=4 if MODE == "early" else 1,
)
job = app.task(run, name="job")


def send() -> None:
    """Send tasks."""
    for number in numbers():
        job.delay(number)
        sent(number)


def work() -> None:
    """Run tasks in the default pool."""
    app.worker_main(["--quiet", "worker", f"--concurrency={SLOTS}", "--loglevel=ERROR"])


if __name__ == "__main__":
    perform(send=send, work=work)
