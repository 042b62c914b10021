"""Runs `make demo`: an embedded server, an app with all three triggers, and a burst that the instances scale with."""

import argparse
import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import redis.asyncio
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from listeners.functions.loading import load_app
from scaler.local_app import LocalApp
from scaler.settings import Settings, load_settings
from triggerfish.cli.output import stdout
from triggerfish.cli.up import show_while, snapshot
from triggerfish.testing import Server, embedded_binary

APP = Path(__file__).with_name("app.py")
KINDS = ("orders", "payments", "prices")
BURST = 10_000
PRICES = 1_000
PUBLISH_SECONDS = 15.0
DEADLINE_SECONDS = 90.0


@dataclass
class Demo:
    """The demo: its phase, and what it has produced."""

    client: redis.asyncio.Redis
    local: LocalApp
    port: int
    keep: bool
    phase: str = "starting"
    began: float = field(default_factory=time.monotonic)
    produced: dict[str, int] = field(default_factory=dict)
    instances_at_end: int | None = None
    #: The table at the end of the script, before the app is stopped.
    final_picture: RenderableType | None = None

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self.began

    async def play(self) -> None:
        """Run the app, produce, and wait until everything is handled and instances are back at the minimum."""
        running = asyncio.create_task(self.local.run())
        try:
            async with asyncio.timeout(None if self.keep else DEADLINE_SECONDS):
                await self._script()
                if self.keep:
                    self.phase = f"still running, with Redis on port {self.port}; press Ctrl-C to stop"
                    await running
        except (TimeoutError, asyncio.CancelledError):
            self.phase = "stopped early"
        finally:
            self.local.stop()
            await running

    async def _script(self) -> None:
        await self.local.server.started.wait()
        await self._until(self._subscribed)
        self.phase = f"burst of {BURST:,} list elements, {BURST:,} stream entries and {PRICES:,} messages"
        await asyncio.gather(self._push_orders(), self._add_payments(), self._publish_prices())
        self.phase = "working off the backlog"
        await self._until(self._all_handled)
        self.phase = "all handled; scaling back to the minimum"
        await self._until(self._at_minimum)
        self.instances_at_end = len(self.local.instances.running)
        self.phase = "done"
        self.final_picture = self.picture()

    async def _push_orders(self) -> None:
        for first in range(0, BURST, 500):
            orders = [f'{{"number": {number}, "amount": 9.5}}' for number in range(first, first + 500)]
            await self.client.rpush("orders", *orders)
            self.produced["orders"] = first + 500

    async def _add_payments(self) -> None:
        for first in range(0, BURST, 500):
            async with self.client.pipeline(transaction=False) as pipeline:
                for number in range(first, first + 500):
                    pipeline.xadd("payments", {"number": number, "method": "card"})
                await pipeline.execute()
            self.produced["payments"] = first + 500

    async def _publish_prices(self) -> None:
        """Publish over PUBLISH_SECONDS, so that instances start and stop meanwhile."""
        for number in range(PRICES):
            await self.client.publish("prices.eur", str(number))
            self.produced["prices"] = number + 1
            await asyncio.sleep(PUBLISH_SECONDS / PRICES)

    async def _subscribed(self) -> bool:
        return bool(await self.client.pubsub_numpat())

    async def _all_handled(self) -> bool:
        handled = [await self.client.hlen(f"demo:handled:{kind}") for kind in KINDS]
        return handled == [self.produced[kind] for kind in KINDS]

    async def _at_minimum(self) -> bool:
        """Whether the last sample has no backlog, and the instances have followed it."""
        instances = self.local.instances
        measured_empty = not any(status.backlog for status in self.local.statuses())
        return measured_empty and len(instances.running) == self.local.autoscaler.target and not instances.draining

    async def _until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        while not await condition():  # noqa: ASYNC110  (the condition changes in Redis)
            await asyncio.sleep(0.1)

    def picture(self) -> RenderableType:
        """Return the phase and the live table: the current one, or the last one once the script has ended."""
        if self.final_picture is not None and not self.keep:
            return self.final_picture
        phase = Text(f"{self.seconds:5.1f} s  {self.phase}", style="bold")
        return Group(phase, Text(), snapshot(self.local))


async def main(keep: bool) -> int:
    """Play the demo. Return 0 with `keep`, or if nothing was lost or handled twice; otherwise 1."""
    console = stdout()
    with Server(embedded_binary()) as server:
        # The app records its calls over a separate connection, which has its own variable.
        os.environ["DEMO_REDIS"] = f"redis://{server.address}"
        os.environ["TRIGGERFISH_CONNECTION"] = server.address
        os.environ["TRIGGERFISH_LOG"] = "warning"
        logging.basicConfig(level=logging.WARNING)
        local = LocalApp(str(APP), load_app(str(APP)), settings_for_demo())
        async with redis.asyncio.Redis(port=server.port, protocol=2) as client:
            demo = Demo(client, local, server.port, keep)
            if console.is_terminal:
                await show_while(demo.play(), demo.picture, console)
            else:
                await narrate(demo, console)
            return await summarize(demo, console)


def settings_for_demo() -> Settings:
    """Return settings with free ports and short times."""
    return load_settings(
        None,
        scaler={"grpc_host": "127.0.0.1", "grpc_port": 0, "http_host": "127.0.0.1", "http_port": 0},
        local={
            "polling_interval_seconds": 0.5,
            "cooldown_seconds": 3,
            "stabilization_window_seconds": 3,
            "max_instances": 4,
        },
    )


async def narrate(demo: Demo, console: Console) -> None:
    """Print the table every five seconds, for output that is not a terminal."""
    playing = asyncio.create_task(demo.play())
    while not playing.done():
        await asyncio.wait([playing], timeout=5)
        console.print(demo.picture(), "")
    await playing


async def summarize(demo: Demo, console: Console) -> int:
    """Count the calls recorded in Redis and print the summary."""
    table = Table("", "produced", "handled", "lost", "handled twice", "by instances", title="Summary")
    good = demo.phase == "done"
    calls_per_price = 0.0
    for kind in KINDS:
        calls = [int(count) for count in await demo.client.hvals(f"demo:handled:{kind}")]
        by_instances = await demo.client.hlen(f"demo:by-instance:{kind}")
        produced, handled, twice = demo.produced.get(kind, 0), len(calls), sum(count > 1 for count in calls)
        good = good and handled == produced and not twice
        table.add_row(kind, *(f"{n:,}" for n in (produced, handled, produced - handled, twice, by_instances)))
        calls_per_price = sum(calls) / max(produced, 1)  # the last kind is pub/sub
    console.print(table)
    instances = demo.local.instances
    line = f"pub/sub calls per message: {calls_per_price:g}; instances: {instances.peak} at the peak, "
    line += f"{demo.instances_at_end} at the end, {instances.crashes} crashed; {demo.phase} after {demo.seconds:.0f} s"
    console.print(line, highlight=False)
    return 0 if good or demo.keep else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep running after the burst")
    sys.exit(asyncio.run(main(parser.parse_args().keep)))
