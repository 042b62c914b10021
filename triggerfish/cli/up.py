"""`triggerfish up`: the scaler and the instances of one app, on this machine."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live

from listeners.functions.app import App
from listeners.runtime.signals import on_termination
from scaler.access.access import Access
from scaler.local.autoscaler import LocalAutoscaler
from scaler.local.processes import Instances, instance_command
from scaler.monitoring.status import trigger_status
from scaler.server import ScalerServer
from scaler.settings import Settings
from triggerfish.cli.tables import instances_line, trigger_table

__all__ = ["LocalApp", "instance_environment", "run_up", "show_while"]

REFRESH_SECONDS = 0.25


class LocalApp:
    """An app on this machine: the scaler's service, and the local scaler that drives its processes.

    `reference` names the app for the processes, and `config` their settings file.
    """

    def __init__(self, reference: str, app: App, settings: Settings, config: Path | None = None) -> None:
        connections = settings.redis_connections()
        settings = on_loopback(settings)
        self.server = ScalerServer(settings, access=Access(connections))
        command = instance_command(reference, str(config) if config else None, http=settings.host.http_port is not None)
        self.instances = Instances(command, instance_environment(settings), settings.host.grace_period_seconds)
        self.scaler = LocalAutoscaler(app, self.instances, self.server.evaluator, connections, settings.local)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Drain the processes, and let run() end."""
        self._stop.set()

    async def run(self) -> None:
        """Run until stopped."""
        serving = asyncio.create_task(self.server.run())
        scaling = asyncio.create_task(self.scaler.run(self._stop))
        try:
            await asyncio.wait([serving, scaling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stop.set()
            try:
                await scaling
            finally:
                self.server.stop()
                await serving

    def picture(self) -> Group:
        """What waits and what runs, as a table for a terminal."""
        line = instances_line(
            len(self.instances.running), len(self.instances.draining), self.scaler.target, self.instances.crashes
        )
        return Group(trigger_table(map(trigger_status, self.server.evaluator.tracked())), line)


def instance_environment(settings: Settings) -> dict[str, str]:
    """What the processes inherit. Their leases are in Redis unless chosen otherwise: the scaler reads them there."""
    if settings.host.pubsub_lease != "auto":
        return dict(os.environ)
    return {**os.environ, "TRIGGERFISH_HOST__PUBSUB_LEASE": "redis"}


def on_loopback(settings: Settings) -> Settings:
    """The settings with ports that only this machine reaches, unless an address was chosen."""
    chosen = settings.scaler.model_fields_set
    addresses = {name: "127.0.0.1" for name in ("grpc_host", "http_host") if name not in chosen}
    return settings.model_copy(update={"scaler": settings.scaler.model_copy(update=addresses)})


async def run_up(reference: str, app: App, settings: Settings, config: Path | None, console: Console) -> None:
    """Run the app until SIGTERM or SIGINT, with a live table if the console is a terminal."""
    local = LocalApp(reference, app, settings, config)
    with on_termination(lambda _: local.stop()):
        if console.is_terminal:
            await show_while(local.run(), local.picture, console)
        else:
            await local.run()


async def show_while(work: Coroutine[Any, Any, None], picture: Callable[[], RenderableType], console: Console) -> None:
    """Keep a picture on the terminal up to date while some work goes on."""
    working = asyncio.create_task(work)
    with Live(picture(), console=console, auto_refresh=False) as live:
        while not working.done():
            await asyncio.wait([working], timeout=REFRESH_SECONDS)
            live.update(picture(), refresh=True)
    await working
