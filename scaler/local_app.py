"""Runs an app on this machine: a scaler, and an autoscaler that starts and stops the app's processes."""

import asyncio
import os
import signal
from collections.abc import Iterator, Sequence

from listeners.functions.app import App
from listeners.runtime.logs import LogFormat, steady_logger
from listeners.runtime.signals import SAME_REQUEST_SECONDS, on_termination
from scaler.access.access import Access
from scaler.local.autoscaler import LocalAutoscaler
from scaler.local.child_output import ChildOutput
from scaler.local.processes import Instances, instance_command
from scaler.monitoring.status import TriggerStatus, trigger_status
from scaler.server import ScalerServer
from scaler.settings import Settings
from scaler.triggers.app_triggers import check_connections

__all__ = ["LocalApp", "instance_environment"]

log = steady_logger("triggerfish.local")

#: Hosts that stand for every address of this machine.
EVERY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104  (none is bound here)


class LocalApp:
    """Runs an app with as many processes as its backlog needs.

    The processes load the app by `reference`, with `options` of `triggerfish run`, and `log_format` is that of their
    environment. `reloaded`: replace() may be called. Raises ConfigurationError for unusable settings.
    """

    def __init__(
        self,
        reference: str,
        app: App,
        settings: Settings,
        options: Sequence[str] = (),
        log_format: LogFormat = LogFormat.TEXT,
        *,
        reloaded: bool = False,
    ) -> None:
        connections = settings.redis_connections()
        check_connections(app, connections)
        settings = _on_loopback(settings)
        self._access = Access(connections)
        self.server = ScalerServer(settings, access=self._access)
        http = ("--http-port", "0") if settings.host.http_port is not None else ()  # each serves on any free port
        command = instance_command(reference, *options, *http, reloaded=reloaded)
        self.instances = Instances(
            command, instance_environment(settings), settings.host.grace_period_seconds, ChildOutput(log_format)
        )
        self._http_host = settings.scaler.http_host
        self.autoscaler = LocalAutoscaler(app, self.instances, self.server.evaluator, connections, settings.local)
        self._stop = asyncio.Event()

    @property
    def page_address(self) -> str | None:
        """The address of the status page on this machine, once it is served."""
        if not self.server.started.is_set():
            return None
        host = "localhost" if self._http_host in EVERY_ADDRESS else self._http_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.server.http_port}/"

    def replace(self, app: App, settings: Settings) -> None:
        """Run a changed app: drain the processes, and start others with the environment as it is now.

        Of the settings, those of connections and of the host apply. On a ConfigurationError, nothing has changed.
        """
        connections = settings.redis_connections()
        check_connections(app, connections)
        self._access.connections = connections
        self.instances.renew(instance_environment(settings), settings.host.grace_period_seconds)
        self.autoscaler.replace(app, connections)

    def stop(self) -> None:
        """Drain the processes; run() then returns."""
        self.instances.drain()
        self._stop.set()

    async def run_until_signalled(self) -> None:
        """Run until SIGTERM or SIGINT. Another one a second later, or more, exits at once, as do the processes."""
        with on_termination(self._signalled):
            await self.run()

    def _signalled(self, number: signal.Signals) -> None:
        log.info("%s: draining. Another signal after %g s exits at once", number.name, SAME_REQUEST_SECONDS)
        self.stop()

    async def run(self) -> None:
        """Run until stopped."""
        serving = asyncio.create_task(self.server.run())
        scaling = asyncio.create_task(self.autoscaler.run(self._stop))
        announcing = asyncio.create_task(self._announce_page())
        try:
            await asyncio.wait([serving, scaling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            announcing.cancel()
            self._stop.set()
            try:
                await scaling
            finally:
                self.server.stop()
                await serving

    async def _announce_page(self) -> None:
        await self.server.started.wait()
        log.info("status page: %s", self.page_address)

    def statuses(self) -> Iterator[TriggerStatus]:
        """Return the current status of each trigger."""
        return map(trigger_status, self.server.evaluator.tracked())


def instance_environment(settings: Settings) -> dict[str, str]:
    """Return the processes' environment: what they print appears at once. Unless set otherwise, leases are in Redis,
    where the autoscaler reads them.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    if settings.host.pubsub_lease == "auto":
        environment["TRIGGERFISH_HOST__PUBSUB_LEASE"] = "redis"
    return environment


def _on_loopback(settings: Settings) -> Settings:
    """Return the settings with the scaler's ports on the loopback address, unless an address is set."""
    explicit = settings.scaler.model_fields_set
    addresses = {name: "127.0.0.1" for name in ("grpc_host", "http_host") if name not in explicit}
    return settings.model_copy(update={"scaler": settings.scaler.model_copy(update=addresses)})
