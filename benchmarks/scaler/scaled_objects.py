"""The ScaledObjects of the benchmark: half of them read lists, half read streams."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import redis.asyncio
from redis.asyncio.client import Pipeline

from scaler.keda import externalscaler_pb2 as pb

__all__ = ["GROUP", "ScaledObject", "fill", "make_idle", "remove", "scaled_objects"]

GROUP = "workers"
NAMESPACE = "benchmark"
#: Number of entries in each key, and the payload of each.
WAITING = 3
PAYLOAD = b"x" * 100
#: Number of keys that are prepared in one round trip.
CHUNK = 500


@dataclass(frozen=True)
class ScaledObject:
    """A ScaledObject with one trigger, on a key that no other ScaledObject reads."""

    name: str
    is_list: bool

    @property
    def key(self) -> str:
        """The key that the trigger reads."""
        return f"queue:{self.name}"

    def reference(self) -> pb.ScaledObjectRef:
        """Return the reference that KEDA sends: all of the trigger's metadata, KEDA's own keys included."""
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
    """Return `count` ScaledObjects whose names begin with the prefix, alternating lists and streams, a list first."""
    return [ScaledObject(f"{prefix}-{number:05}", is_list=number % 2 == 0) for number in range(count)]


async def fill(client: redis.asyncio.Redis, objects: Sequence[ScaledObject]) -> None:
    """Add entries to every key; in each stream one of them is pending."""

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
    """Prepare keys without a backlog: lists do not exist, and a stream's group starts after its only entry."""

    def prepare(pipeline: Pipeline, one: ScaledObject) -> None:
        if not one.is_list:
            pipeline.xadd(one.key, {"payload": PAYLOAD})
            pipeline.xgroup_create(one.key, GROUP, id="$")

    await _in_chunks(client, objects, prepare)


async def remove(client: redis.asyncio.Redis, objects: Iterable[ScaledObject]) -> None:
    """Delete the keys of these ScaledObjects."""
    await client.delete(*(one.key for one in objects))


async def _in_chunks(
    client: redis.asyncio.Redis, objects: Sequence[ScaledObject], prepare: Callable[[Pipeline, ScaledObject], None]
) -> None:
    for start in range(0, len(objects), CHUNK):
        async with client.pipeline(transaction=False) as pipeline:
            for one in objects[start : start + CHUNK]:
                prepare(pipeline, one)
            await pipeline.execute()
