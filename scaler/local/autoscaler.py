"""Runs an app's instances as processes on this machine, as many as its triggers need."""

import asyncio
import contextlib
import time

from listeners.connections.named import Connections
from listeners.errors import SourceError, TriggerfishError
from listeners.functions.app import App
from listeners.functions.triggers import PubSubTrigger
from listeners.keys import lease_key
from listeners.redis.client import Client
from listeners.runtime.logs import steady_logger
from listeners.runtime.tasks import wait_for_either
from listeners.text import decode
from scaler.evaluation.evaluator import Evaluator
from scaler.evaluation.target import app_target
from scaler.local.processes import Instances
from scaler.local.scaling_behavior import ScalingBehavior
from scaler.measuring.outage import OUTAGE_SUFFIX
from scaler.settings import LocalSettings
from scaler.triggers.app_triggers import app_triggers
from scaler.triggers.metadata import ScaledTrigger
from scaler.triggers.owner import Owner

__all__ = ["LocalAutoscaler"]

log = steady_logger("triggerfish.local")


class LocalAutoscaler:
    """Measures the app's triggers every polling interval, and makes the number of processes follow.

    While a trigger cannot be measured, its last target stays in effect, as with KEDA.
    """

    def __init__(
        self, app: App, instances: Instances, evaluator: Evaluator, connections: Connections, settings: LocalSettings
    ) -> None:
        self._app = app
        self._evaluator = evaluator
        self._connections = connections
        self._settings = settings
        self.instances = instances
        self.target = 0
        self._triggers = app_triggers(app, settings.max_instances)
        self._behavior = ScalingBehavior(
            settings.min_instances,
            settings.max_instances,
            settings.cooldown_seconds,
            settings.stabilization_window_seconds,
        )
        self._targets: dict[Owner, int] = {}
        self._replaced = asyncio.Event()
        #: The triggers that cannot be measured, by the cause that was logged.
        self._failing: dict[str, list[str]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Scale until `stop` is set, then drain every process."""
        for owner, scaled in self._triggers.items():
            self._evaluator.track(owner, scaled)
        try:
            while not stop.is_set():
                self._replaced.clear()
                await self._poll()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.polling_interval_seconds):
                        await wait_for_either(stop, self._replaced)
        finally:
            await self.instances.stop()

    def replace(self, app: App, connections: Connections) -> None:
        """Scale a changed app from now on."""
        for owner, scaled in self._triggers.items():
            self._evaluator.forget(owner, scaled)
        self._app, self._connections = app, connections
        self._triggers = app_triggers(app, self._settings.max_instances)
        for owner, scaled in self._triggers.items():
            self._evaluator.track(owner, scaled)
        self._replaced.set()

    async def _poll(self) -> None:
        now = time.monotonic()
        self.instances.reap(now)
        failing: dict[str, list[str]] = {}
        active = any(await asyncio.gather(*(self._evaluate(owner, s, failing) for owner, s in self._triggers.items())))
        self._log_changes(failing)
        self.target = app_target(self._targets.get(owner, 0) for owner in self._triggers)
        running = len(self.instances.running)
        wanted = self._behavior.wanted(now, running, self.target, active=active)
        keep = await self._lease_holders() if wanted < running else frozenset()
        await self.instances.scale_to(wanted, now, keep)

    async def _evaluate(self, owner: Owner, scaled: ScaledTrigger, failing: dict[str, list[str]]) -> bool:
        """Record a trigger's target, and return whether it is active. On an error, its last target is kept, and the
        trigger counts as active if that is above 0; `failing` gets its name by the cause.
        """
        try:
            evaluation = await self._evaluator.evaluate(owner, scaled)
        except TriggerfishError as error:
            failing.setdefault(_cause(error), []).append(owner.name)
            return self._targets.get(owner, 0) > 0
        self._targets[owner] = evaluation.target
        return evaluation.active

    def _log_changes(self, failing: dict[str, list[str]]) -> None:
        """Log each new cause once, and the end of the trouble."""
        for cause, names in failing.items():
            if cause not in self._failing:
                log.warning("cannot measure %s, keeping the last target: %s", ", ".join(names), cause)
        if self._failing and not failing:
            log.warning("all triggers can be measured again")  # as loud as the trouble: `up` shows only warnings
        self._failing = failing

    async def _lease_holders(self) -> frozenset[str]:
        """Return the instances that hold a lease. They stop last, so that no message is lost in a handover."""
        holders: set[str] = set()
        for name, function in self._app.functions.items():
            if not isinstance(function.trigger, PubSubTrigger) or not function.trigger.singleton:
                continue
            client = Client(self._connections.resolve(function.trigger), "triggerfish:local", timeout_seconds=1.0)
            key = lease_key(self._app.name, name)
            try:
                with contextlib.suppress(SourceError):
                    holder = await client.command(key, "GET", key, doing="reading a lease")
                    holders.add(decode(holder or b""))
            finally:
                await client.aclose()
        return frozenset(holders)


def _cause(error: TriggerfishError) -> str:
    """Return the text of an error without the times that an outage adds to it."""
    return str(error).partition(OUTAGE_SUFFIX)[0]
