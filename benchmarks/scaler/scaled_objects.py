"""The ScaledObjects that the benchmark asks about: half of them read lists, half streams."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import redis.asyncio
from redis.asyncio.client import Pipeline

from scaler.keda import externalscaler_pb2 as pb

__all__ = ["GROUP", "ScaledObject", "fill", "make_idle", "remove", "scaled_objects"]

GROUP = "workers"
NAMESPACE = "benchmark"
#: Entries that wait in each key, and what each holds.
WAITING = 3
PAYLOAD = b"x" * 100
#: Keys that are prepared in one round trip.
CHUNK = 500


@dataclass(frozen=True)
class ScaledObject:
    """A ScaledObject with one trigger, on a key of its own."""

    name: str
    is_list: bool

    @property
    def key(self) -> str:
        """What its trigger reads."""
        return f"queue:{self.name}"

    def reference(self) -> pb.ScaledObjectRef:
        """What KEDA says of it: every key of the trigger's metadata, its own included."""
        metadata = {
            "scalerAddress": "triggerfish-scaler.triggerfish.svc:6000",
            "type": "RedisListTrigger" if self.is_list else "RedisStreamTrigger",
            "keys": self.key,
            "messagesPerWorker": "100",
            "function": "handle",
            **({} if self.is_list else {"consumerGroup": GROUP}),
        }
        return pb.ScaledObjectRef(name=self.name, namespace=NAMESPACE, scalerMetadata=metadata)


def scaled_objects(count: int, prefix: str) -> list[ScaledObject]:
    """So many, with names that begin with the prefix; lists and streams in turn, a list first."""
    return [ScaledObject(f"{prefix}-{number:05}", is_list=number % 2 == 0) for number in range(count)]


async def fill(client: redis.asyncio.Redis, objects: Sequence[ScaledObject]) -> None:
    """Let entries wait in every key; each stream has one that is pending too."""

    def prepare(pipeline: Pipeline, one: ScaledObject) -> None:
        if one.is_list:
            pipeline.rpush(one.key, *[PAYLOAD] * WAITING)
            return
        pipeline.xgroup_create(one.key, GROUP, id="0", mkstream=True)
        for _ in range(WAITING):
            pipeline.xadd(one.key, {"payload": PAYLOAD})
        pipeline.xreadgroup(GROUP, "worker-1", {one.key: ">"}, count=1)

    await _in_chunks(client, objects, prepare)


async def make_idle(client: redis.asyncio.Redis, objects: Sequence[ScaledObject]) -> None:
    """Leave nothing to do in new keys: lists do not exist, streams have one entry, which their group has handled."""

    def prepare(pipeline: Pipeline, one: ScaledObject) -> None:
        if not one.is_list:
            pipeline.xadd(one.key, {"payload": PAYLOAD})
            pipeline.xgroup_create(one.key, GROUP, id="$")

    await _in_chunks(client, objects, prepare)


async def remove(client: redis.asyncio.Redis, objects: Iterable[ScaledObject]) -> None:
    """Delete their keys."""
    await client.delete(*(one.key for one in objects))


async def _in_chunks(
    client: redis.asyncio.Redis, objects: Sequence[ScaledObject], prepare: Callable[[Pipeline, ScaledObject], None]
) -> None:
    for start in range(0, len(objects), CHUNK):
        async with client.pipeline(transaction=False) as pipeline:
            for one in objects[start : start + CHUNK]:
                prepare(pipeline, one)
            await pipeline.execute()
