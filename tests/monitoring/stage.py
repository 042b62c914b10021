"""A small but complete system for Prometheus to scrape: a scaler, an app's instances, and a loop that scales them.

The loop simulates KEDA and the HPA, and kube-state-metrics is a fake. Everything else is real.
"""

import asyncio
import contextlib
import itertools
import math
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import redis.asyncio

from listeners.functions.triggers import PubSubTrigger, StreamTrigger
from listeners.runtime.child_processes import die_with_parent
from listeners.runtime.tasks import cancel_until_done
from scaler.triggers.metadata import read_metadata
from tests.apps.monitored import app
from tests.monitoring.kube_state_metrics import KubeStateMetrics
from tests.monitoring.prometheus import Prometheus, running_prometheus
from tests.support.running_scaler import RunningScaler, running_scaler
from triggerfish.testing.server import Server, embedded_binary, free_port

__all__ = ["NAMESPACE", "ONLY_DECLARED", "SCALED_OBJECT", "TRIGGERS", "Stage", "running_stage"]

ROOT = Path(__file__).parents[2]
NAMESPACE, SCALED_OBJECT = "shop", "shop"
MAX_INSTANCES = 3
POLL_SECONDS = 0.5
STOP_SECONDS = 10.0


def _metadata() -> dict[str, dict[str, str]]:
    """Return the metadata of each function's trigger."""
    by_function = {}
    for name, function in app.functions.items():
        trigger = function.trigger
        metadata = {"type": trigger.type_name, "function": name, "app": app.name}
        if isinstance(trigger, PubSubTrigger):
            metadata |= {"channel": trigger.channel}
        else:
            metadata |= {"keys": " ".join(trigger.keys), "messagesPerWorker": str(trigger.messages_per_worker)}
        if isinstance(trigger, StreamTrigger):
            metadata |= {"consumerGroup": trigger.consumer_group}
        by_function[name] = metadata
    return by_function


METADATA = _metadata()
#: By function, the metric name of its trigger.
TRIGGERS = {function: read_metadata(metadata).metric_name for function, metadata in METADATA.items()}
#: By function, triggers that the scaler's settings declare and KEDA never polls, as with a paused ScaledObject.
ONLY_DECLARED = {"announce": {"type": "redisPubSubTrigger", "channel": "news", "function": "announce"}}


@dataclass
class Stage:
    """The running system and its controls."""

    server: Server
    scaler: RunningScaler
    prometheus: Prometheus
    kubernetes: KubeStateMetrics
    instances: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    orders_per_second: float = 60.0

    async def produce(self) -> None:
        """Produce orders, payments and prices at a constant rate until cancelled."""
        numbers = itertools.count(1)
        async with redis.asyncio.Redis(port=self.server.port, protocol=2) as client:
            while True:
                await asyncio.sleep(0.1)
                orders = [str(next(numbers)) for _ in range(math.ceil(self.orders_per_second / 10))]
                await client.rpush("orders", *orders)
                for order in orders:
                    await client.xadd("payments", {"order": order})
                await client.publish("prices.eur", orders[0])

    async def burst(self, number: int) -> None:
        """Produce `number` orders and payments at once."""
        async with redis.asyncio.Redis(port=self.server.port, protocol=2) as client:
            await client.rpush("orders", *map(str, range(number)))
            async with client.pipeline(transaction=False) as pipeline:
                for order in range(number):
                    pipeline.xadd("payments", {"order": order})
                await pipeline.execute()

    async def scale(self) -> None:
        """Poll every trigger as KEDA does, and run as many instances as the largest target, as the HPA does."""
        async with contextlib.AsyncExitStack() as streams:
            for metadata in METADATA.values():
                await streams.enter_async_context(
                    self.scaler.keda.activity(metadata, name=SCALED_OBJECT, namespace=NAMESPACE)
                )
            while True:
                desired = min(max([await self._target(metadata) for metadata in METADATA.values()]), MAX_INSTANCES)
                self._run(desired)
                self.kubernetes.set_replicas(desired=desired, running=len(self.instances))
                await self._send_invalid_request()
                await asyncio.sleep(POLL_SECONDS)

    async def _target(self, metadata: dict[str, str]) -> int:
        poll = await self.scaler.keda.poll(metadata, name=SCALED_OBJECT, namespace=NAMESPACE)
        return poll.value.metricValue

    async def _send_invalid_request(self) -> None:
        """Poll for a ScaledObject with invalid metadata, so that the scaler's metrics have an error status."""
        with contextlib.suppress(grpc.aio.AioRpcError):
            await self.scaler.keda.active({"type": "redisListTrigger"}, name="invalid", namespace=NAMESPACE)

    def _run(self, desired: int) -> None:
        while len(self.instances) < desired:
            address = f"127.0.0.1:{free_port()}"
            self.instances[address] = self._start(address)
            self.prometheus.scrape(address, namespace=NAMESPACE, pod=f"shop-{self.instances[address].pid}")
        # Stop the newest instances first, so that the subscribed one keeps running.
        for address in list(self.instances)[desired:]:
            self.instances.pop(address).terminate()
            self.prometheus.stop_scraping(address)

    def _start(self, address: str) -> "subprocess.Popen[bytes]":
        port = address.partition(":")[2]
        return subprocess.Popen(
            [sys.executable, "-m", "triggerfish", "run", "tests.apps.monitored", "--http-port", port],
            cwd=ROOT,
            env={**os.environ, "TRIGGERFISH_CONNECTION": self.server.address, "TRIGGERFISH_LOG": "error"},
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )

    def stop(self) -> None:
        """Kill all instances."""
        for process in self.instances.values():
            process.kill()
        for process in self.instances.values():
            process.wait()


@contextlib.asynccontextmanager
async def running_stage() -> AsyncIterator[Stage]:
    """Run the stage during the block, with steady load and scaling."""
    kubernetes = KubeStateMetrics(NAMESPACE, SCALED_OBJECT, MAX_INSTANCES)
    with Server(embedded_binary()) as server:
        declared = {
            f"{SCALED_OBJECT}.{function}": metadata for function, metadata in (METADATA | ONLY_DECLARED).items()
        }
        async with running_prometheus() as prometheus, running_scaler(server, triggers=declared) as scaler:
            stage = Stage(server, scaler, prometheus, kubernetes)
            prometheus.scrape(f"127.0.0.1:{scaler.server.http_port}", namespace="triggerfish", pod="scaler")
            prometheus.scrape(f"127.0.0.1:{kubernetes.port}", namespace="monitoring", pod="kube-state-metrics")
            tasks = [asyncio.create_task(stage.produce()), asyncio.create_task(stage.scale())]
            try:
                yield stage
            finally:
                await cancel_until_done(tasks, STOP_SECONDS)
                stage.stop()
                kubernetes.stop()
