"""Queues as their libraries write them, in a state in which some jobs wait, some run, and some are delayed."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import redis

__all__ = ["QUEUES", "Contents"]

HOUR = 3600.0
Parts = tuple[int, int, int, int]


@dataclass(frozen=True)
class Contents:
    """A queue: the metadata of its trigger, what fills it, and its jobs then: waiting, due, in progress, scheduled.

    `pause` pauses it.
    """

    metadata: Mapping[str, str]
    fill: Callable[[Any, float], object]
    parts: Parts
    pause: Callable[[redis.Redis], object] | None = None

    @property
    def backlog(self) -> int:
        """How many jobs are unfinished and due."""
        return sum(self.parts[:3])


def bull(client: redis.Redis, now: float) -> None:
    """Jobs of BullMQ 6; one is due, and one is due in an hour."""
    client.hset("bull:mail:meta", mapping={"opts.maxLenEvents": 10000, "version": "bullmq:6.7.0"})
    client.rpush("bull:mail:wait", "5", "4")
    client.zadd("bull:mail:prioritized", {"6": 8589934593, "7": 12884901890, "8": 12884901891})
    client.rpush("bull:mail:active", "1", "2")
    client.zadd("bull:mail:delayed", {"9": bull_score(now - 1), "10": bull_score(now + HOUR)})
    client.zadd("bull:mail:completed", {"0": 1})
    client.zadd("bull:mail:marker", {"0": 0})


def bull_score(at: float) -> int:
    return int(at * 1000) * 4096 + 7


def bull_4(client: redis.Redis, now: float) -> None:
    """BullMQ 4 with nothing but a delayed job, for which it keeps a marker among the waiting ones."""
    client.hset("{bull}:mail:meta", mapping={"version": "bullmq:4.18.3"})
    client.zadd("{bull}:mail:delayed", {"1": bull_score(now + HOUR)})
    client.rpush("{bull}:mail:wait", f"0:{int((now + HOUR) * 1000)}")


def bull_without_meta(client: redis.Redis, now: float) -> None:
    """Bull: `priority` indexes what is in `wait`."""
    client.rpush("bull:jobs:wait", "3", "2", "1")
    client.zadd("bull:jobs:priority", {"3": 1, "2": 2})
    client.rpush("bull:jobs:active", "0")


def celery(client: redis.Redis, now: float) -> None:
    """Tasks of four priorities, three of which workers hold, in two queues."""
    for key in ("mails", "mails\x06\x163", "mails\x06\x166", "mails\x06\x169", "mails\x06\x169", "bulk"):
        client.lpush(key, "{}")
    for tag in "abc":
        client.hset("unacked:mails", tag, '[{"body": ""}, "", "mails"]')
        client.zadd("unacked:mails_index", {tag: now})
    client.sadd("_kombu.binding.mails", "mails\x06\x16\x06\x16mails")


def celery_prefixed(client: redis.Redis, now: float) -> None:
    """Tasks with a prefix, and other steps and separators."""
    client.lpush("shop:celery", "{}")
    client.lpush("shop:celery:5", "{}")
    client.lpush("celery", "{}")
    client.lpush("shop:celery\x06\x163", "{}")
    client.hset("shop:unacked", "a", '[{"body": ""}, "", "celery"]')
    client.hset("unacked", "b", '[{"body": ""}, "", "celery"]')


def rq(client: redis.Redis, now: float) -> None:
    """Jobs of RQ, one of them between its queue and the registry of running ones."""
    client.sadd("rq:queues", "rq:queue:mail")
    client.rpush("rq:queue:mail", "a", "b")
    client.rpush("rq:queue:mail:intermediate", "c")
    client.zadd("rq:wip:mail", {"d:1": now + 90, "e:1": now - 300})
    client.zadd("rq:scheduled:mail", {"f": int(now) - 1, "g": int(now) + HOUR})
    client.zadd("rq:deferred:mail", {"h": now})
    client.zadd("rq:failed:mail", {"i": now})


def arq(client: redis.Redis, now: float) -> None:
    """Jobs of arq: two wait or run, and one is deferred."""
    client.zadd("arq:queue", {"a": int(now * 1000) - 5, "b": int(now * 1000) - 9000, "c": int((now + HOUR) * 1000)})
    client.psetex("arq:in-progress:a", 310_000, "1")


def saq(client: redis.Redis, now: float) -> None:
    """Jobs of SAQ: one is queued, one active, and one scheduled."""
    client.zadd("saq:default:incomplete", {"a": 0, "b": 0, "c": now + HOUR})
    client.rpush("saq:default:queued", "a")
    client.rpush("saq:default:active", "b")


def asynq(client: redis.Redis, now: float) -> None:
    """Tasks of asynq."""
    client.sadd("asynq:queues", "mail")
    client.rpush("asynq:{mail}:pending", "a")
    client.rpush("asynq:{mail}:active", "b", "c")
    client.zadd("asynq:{mail}:lease", {"b": now + 30, "c": now - 30})
    client.zadd("asynq:{mail}:scheduled", {"d": int(now) + HOUR})
    client.zadd("asynq:{mail}:retry", {"e": int(now) - 2, "f": int(now) + 60})
    client.zadd("asynq:{mail}:archived", {"g": int(now)})
    client.sadd("asynq:{mail}:groups", "daily", "weekly")
    client.zadd("asynq:{mail}:g:daily", {"h": int(now), "i": int(now)})
    client.zadd("asynq:{mail}:g:weekly", {"j": int(now)})


def dramatiq(client: redis.Redis, now: float) -> None:
    """Messages of dramatiq, of which a worker has acknowledged none."""
    client.rpush("dramatiq:default", "a", "b")
    client.sadd("dramatiq:__acks__.w.default", "c")
    client.hset("dramatiq:default.msgs", mapping={"a": "{}", "b": "{}", "c": "{}"})
    etas = {"e": now - 1, "f": now + HOUR, "g": now + 60}
    client.hset("dramatiq:default.DQ.msgs", mapping={name: delayed(at) for name, at in etas.items()})
    client.hset("dramatiq:default.XQ.msgs", mapping={"d": "{}"})
    client.zadd("dramatiq:default.XQ", {"d": now})


def delayed(at: float) -> str:
    """Return a delayed message of dramatiq."""
    options = {"eta": int(at * 1000), "redis_message_id": "x"}
    return json.dumps({"queue_name": "default.DQ", "args": [{"eta": 5}], "kwargs": {"eta": 7}, "options": options})


def laravel(client: redis.Redis, now: float) -> None:
    """Jobs of Laravel."""
    client.rpush("shop_database_queues:default", '{"uuid": "a"}')
    client.rpush("shop_database_queues:default:notify", "1")
    client.zadd(
        "shop_database_queues:default:reserved", {'{"uuid": "b"}': int(now) + 90, '{"uuid": "c"}': int(now) - 5}
    )
    client.zadd(
        "shop_database_queues:default:delayed", {'{"uuid": "d"}': int(now) - 1, '{"uuid": "e"}': int(now) + HOUR}
    )


def laravel_cluster(client: redis.Redis, now: float) -> None:
    """Jobs of Laravel with names for clusters."""
    client.rpush("queues:{mail}", '{"uuid": "a"}')
    client.rpush("queues:mail", '{"uuid": "other"}')


def sidekiq_job(queue: str) -> str:
    """Return a job of Sidekiq."""
    return json.dumps({"class": "Mail", "args": [{"queue": "other"}], "queue": queue, "jid": uuid4().hex})


def sidekiq(client: redis.Redis, now: float) -> None:
    """Jobs of Sidekiq, in queues that share their scheduled jobs and processes."""
    client.sadd("queues", "mail", "bulk")
    client.lpush("queue:mail", sidekiq_job("mail"))
    client.lpush("queue:bulk", sidekiq_job("bulk"), sidekiq_job("bulk"))
    client.zadd("schedule", {sidekiq_job("mail"): now - 1, sidekiq_job("bulk"): now - 1, sidekiq_job("bulk"): now + 9})
    client.zadd("retry", {sidekiq_job("mail"): now - 1, sidekiq_job("mail"): now + HOUR})
    client.sadd("processes", "host:1:a", "host:2:b")
    # The second process is of an older release, such as 6.4.
    for process, name, queues in (("host:1:a", "work", ("mail", "mail", "bulk")), ("host:2:b", "workers", ("mail",))):
        client.hset(process, mapping={"busy": len(queues), "beat": now, "quiet": "false"})
        for number, queue in enumerate(queues):
            client.hset(f"{process}:{name}", f"t{number}", sidekiq_work(queue))


def sidekiq_work(queue: str) -> str:
    """Return what a thread of Sidekiq writes about its job."""
    return json.dumps({"queue": queue, "payload": sidekiq_job(queue), "run_at": 1}, separators=(",", ":"))


def sidekiq_pro(client: redis.Redis, now: float) -> None:
    """Jobs of Sidekiq with a namespace, and lists of the processes."""
    client.lpush("shop:queue:default", sidekiq_job("default"))
    client.sadd("shop:processes", "host:1:a")
    client.lpush("shop:queue:sq|host:1:a|default", sidekiq_job("default"), sidekiq_job("default"))
    client.lpush("shop:queue:sq|host:1:a|bulk", sidekiq_job("bulk"))


def bee(client: redis.Redis, now: float) -> None:
    """Jobs of Bee-Queue."""
    client.rpush("bq:sums:waiting", "3")
    client.rpush("bq:sums:active", "1", "2")
    client.zadd("bq:sums:delayed", {"4": int(now * 1000) - 10, "5": int((now + HOUR) * 1000)})
    client.sadd("bq:sums:failed", "0")


def sorted_set(client: redis.Redis, now: float) -> None:
    """A sorted set with times in milliseconds."""
    client.zadd("timers", {"a": int(now * 1000) - 1, "b": int((now + HOUR) * 1000), "c": int((now + 60) * 1000)})


QUEUES: dict[str, Contents] = {
    "BullMQ 6": Contents(
        {"type": "BullMQQueue", "queue": "mail"},
        bull,
        (5, 1, 2, 1),
        lambda client: client.hset("bull:mail:meta", "paused", "1"),
    ),
    "BullMQ 4": Contents({"type": "bullmqqueue", "queue": "mail", "prefix": "{bull}"}, bull_4, (0, 0, 0, 1)),
    "Bull": Contents({"type": "BullMQQueue", "queue": "jobs"}, bull_without_meta, (3, 0, 1, 0)),
    "Celery": Contents(
        {"type": "CeleryQueue", "queue": "mails bulk", "unackedKey": "unacked:mails", "acksLate": "true"},
        celery,
        (6, 0, 3, 0),
    ),
    "Celery with options": Contents(
        {
            "type": "CELERYQUEUE",
            "globalKeyprefix": "shop:",
            "sep": ":",
            "prioritySteps": "0,5",
            "sharedUnacked": "all",
            "acksLate": "true",
        },
        celery_prefixed,
        (2, 0, 1, 0),
    ),
    "RQ": Contents(
        {"type": "RQQueue", "queue": "mail"}, rq, (2, 1, 3, 1), lambda client: client.set("rq:suspended", 1)
    ),
    "RQ without a scheduler": Contents(
        {"type": "RQQueue", "queue": "mail", "withScheduler": "false"}, rq, (2, 0, 3, 0)
    ),
    "arq": Contents({"type": "ArqQueue"}, arq, (2, 0, 0, 1)),
    "SAQ": Contents({"type": "SaqQueue"}, saq, (2, 0, 0, 1)),
    "asynq": Contents(
        {"type": "AsynqQueue", "queue": "mail"},
        asynq,
        (4, 1, 2, 2),
        lambda client: client.set("asynq:{mail}:paused", int(time.time())),
    ),
    "dramatiq": Contents({"type": "DramatiqQueue"}, dramatiq, (3, 1, 0, 2)),
    "dramatiq with all": Contents({"type": "DramatiqQueue", "delayed": "all"}, dramatiq, (6, 0, 0, 0)),
    "dramatiq with none": Contents({"type": "DramatiqQueue", "delayed": "none"}, dramatiq, (3, 0, 0, 0)),
    "Laravel": Contents({"type": "LaravelQueue", "prefix": "shop_database_"}, laravel, (1, 1, 2, 1)),
    "Laravel for clusters": Contents(
        {"type": "LaravelQueue", "queue": "mail", "prefix": "", "cluster": "true"}, laravel_cluster, (1, 0, 0, 0)
    ),
    "Sidekiq": Contents({"type": "SidekiqQueue", "queue": "mail"}, sidekiq, (1, 2, 3, 0)),
    "Sidekiq Pro": Contents(
        {"type": "SidekiqQueue", "namespace": "shop", "superFetch": "true"}, sidekiq_pro, (1, 0, 2, 0)
    ),
    "Bee-Queue": Contents({"type": "BeeQueue", "queue": "sums"}, bee, (1, 1, 2, 1)),
    "sorted set": Contents({"type": "SortedSet", "queue": "timers"}, sorted_set, (3, 0, 0, 0)),
    "sorted set of times": Contents({"type": "SortedSet", "queue": "timers", "unit": "ms"}, sorted_set, (1, 0, 0, 2)),
}


def totals(keys: Sequence[Mapping[str, int]]) -> Parts:
    """Return the parts of a trigger from the keys in its JSON."""
    names = ("length", "due", "inFlight", "scheduled")
    waiting, due, in_progress, scheduled = (sum(key.get(name, 0) for key in keys) for name in names)
    return waiting, due, in_progress, scheduled
