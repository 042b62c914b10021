"""The libraries in their modes: the program, the metadata for the scaler, and what KEDA's recipes count.

To add a library, add its program and its line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["LIBRARIES", "Library"]

SLOTS = 4


@dataclass(frozen=True)
class Library:
    """A library in one mode.

    `program` names its program and environment, `package` the package whose version the page shows, and `metadata` is
    that of the scaler's trigger. `keda` are the commands whose sum is what KEDA's `redis` scaler counts by the usual
    recipe; none for streams, which have a scaler of their own. `bound` is the largest number of jobs that an answer may
    lack: those that run, but that the library has not recorded as running yet, or never records, or has given up.
    """

    name: str
    program: str
    package: str
    metadata: Mapping[str, str]
    keda: tuple[tuple[str, str], ...] = ()
    mode: str = ""
    bound: int = 0
    slots: int = SLOTS


def _celery(how: str, mode: str, bound: int, **metadata: str) -> Library:
    trigger = {"type": "CeleryQueue", "queue": "jobs", **metadata}
    return Library(f"Celery, {how}", "celery", "celery", trigger, (("LLEN", "jobs"),), mode, bound)


def _bullmq(name: str, package: str) -> Library:
    trigger = {"type": "BullMQQueue", "queue": "jobs"}
    return Library(name, "bullmq", package, trigger, (("LLEN", "bull:jobs:wait"),), package)


LIBRARIES: list[Library] = [
    _bullmq("BullMQ", "bullmq"),
    _bullmq("BullMQ 5", "bullmq5"),
    _bullmq("Bull", "bull"),
    Library(
        "Bee-Queue",
        "bullmq",
        "bee-queue",
        {"type": "BeeQueue", "queue": "jobs"},
        (("LLEN", "bq:jobs:waiting"),),
        "bee-queue",
    ),
    _celery("acks_late, own unacked_key", "own", 1, acksLate="true", unackedKey="unacked:jobs"),
    _celery("acks_late", "late", 1, acksLate="true"),
    _celery("early acknowledgement", "early", SLOTS + 1),
    Library("RQ, one queue", "rq", "rq", {"type": "RQQueue", "queue": "jobs"}, (("LLEN", "rq:queue:jobs"),), "one"),
    Library(
        "RQ, two queues",
        "rq",
        "rq",
        {"type": "RQQueue", "queue": "jobs mails"},
        (("LLEN", "rq:queue:jobs"), ("LLEN", "rq:queue:mails")),
        "two",
        bound=SLOTS,
    ),
    Library("arq", "arq", "arq", {"type": "ArqQueue", "queue": "arq:queue"}, (("ZCARD", "arq:queue"),)),
    # When a worker starts, it aborts jobs that are not recorded as active, one that it has just taken included.
    Library("SAQ", "saq", "saq", {"type": "SaqQueue", "queue": "jobs"}, (("LLEN", "saq:jobs:queued"),), bound=SLOTS),
    Library("asynq", "asynq", "asynq", {"type": "AsynqQueue", "queue": "jobs"}, (("LLEN", "asynq:{jobs}:pending"),)),
    Library(
        "dramatiq", "dramatiq", "dramatiq", {"type": "DramatiqQueue", "queue": "jobs"}, (("LLEN", "dramatiq:jobs"),)
    ),
    Library(
        "Laravel",
        "laravel",
        "php-illuminate-queue",
        {"type": "LaravelQueue", "queue": "jobs", "prefix": "laravel_database_"},
        (("LLEN", "laravel_database_queues:jobs"),),
    ),
    Library(
        "Sidekiq",
        "sidekiq",
        "ruby-sidekiq",
        {"type": "SidekiqQueue", "queue": "jobs"},
        (("LLEN", "queue:jobs"),),
        bound=SLOTS,
    ),
    Library(
        "taskiq, stream",
        "taskiq",
        "taskiq-redis",
        {"type": "RedisStreamTrigger", "keys": "jobs", "consumerGroup": "taskiq"},
    ),
]
