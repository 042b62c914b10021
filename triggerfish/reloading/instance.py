"""One process of an app, replaced whenever the app changes."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence

from listeners.functions.app import App
from listeners.runtime.logs import steady_logger
from listeners.runtime.signals import SAME_REQUEST_SECONDS, on_termination
from listeners.runtime.tasks import wait_for_event
from scaler.local.processes import Instances, instance_command
from scaler.settings import Settings
from scaler.triggers.app_triggers import check_connections

__all__ = ["ReloadedInstance"]

log = steady_logger("triggerfish.reload")

CHECK_SECONDS = 0.1


class ReloadedInstance:
    """Runs one process of an app, once it can be loaded. A process that ends unasked is started again with back-off.

    `options` are those of `triggerfish run`.
    """

    def __init__(self, reference: str, options: Sequence[str], settings: Settings) -> None:
        command = instance_command(reference, *options, reloaded=True)
        self._instances = Instances(command, os.environ, settings.host.grace_period_seconds)
        self._wanted = 0
        self._stop = asyncio.Event()

    def use(self, app: App, settings: Settings) -> None:
        """Drain the process, and start another one with the app as it is now. Raises ConfigurationError."""
        check_connections(app, settings.redis_connections())
        self._instances.renew(dict(os.environ), settings.host.grace_period_seconds)
        self._wanted = 1

    async def run_until_signalled(self) -> None:
        """Run until SIGTERM or SIGINT, which drains. Another one a second later, or more, exits at once."""
        with on_termination(self._signalled):
            try:
                while not self._stop.is_set():
                    now = time.monotonic()
                    self._instances.reap(now)
                    await self._instances.scale_to(self._wanted, now)
                    await wait_for_event(self._stop, CHECK_SECONDS)
            finally:
                await self._instances.stop()

    def _signalled(self, number: signal.Signals) -> None:
        log.info("%s: draining. Another signal after %g s exits at once", number.name, SAME_REQUEST_SECONDS)
        self._instances.drain()
        self._stop.set()
