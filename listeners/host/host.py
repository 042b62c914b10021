"""Runs every function of an app until the host is drained or signalled."""

import asyncio
import contextlib
import functools
import math
import signal
import time
from typing import TYPE_CHECKING, Self

from prometheus_client import CollectorRegistry, Info
from pydantic import SecretStr

from listeners.connections.named import Connections
from listeners.connections.spec import ConnectionSpec
from listeners.engine.listener import Listener
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.engine.suspects import Isolation
from listeners.errors import ConfigurationError
from listeners.functions.app import App, Function
from listeners.functions.surroundings import Surroundings
from listeners.host.clients import Clients
from listeners.host.instance import instance_name
from listeners.host.lifespan import Lifespan
from listeners.host.sources import MAX_BYTES, source_for
from listeners.host.supervisor import Supervisor
from listeners.host.watchdog import Watchdog
from listeners.runtime.child_processes import send_heartbeat
from listeners.runtime.logs import steady_logger
from listeners.runtime.process_exit import exit_after
from listeners.runtime.signals import SAME_REQUEST_SECONDS, on_termination
from listeners.settings import HostSettings
from listeners.version import __version__

if TYPE_CHECKING:
    from aiohttp import web


__all__ = ["Host"]

log = steady_logger("triggerfish.host")

#: How long leaving the lifespan may take, even if calls have used up the grace period, and how much longer than it may
#: the process may take if the lifespan blocks the event loop.
MIN_LEAVE_SECONDS = 2.0
LEAVE_MARGIN_SECONDS = 2.0
#: How long the event loop may stand still beyond the longest call, before the process counts as hung.
HUNG_MARGIN_SECONDS = 10.0
RUN_BEFORE = "It has run before, and runs once. Make another Host of the app."


class Host:
    """Runs an app's functions concurrently; the failure of one never stops another.

    It runs once, in any event loop: until the end of an `async with` block, or `await host.run()` until drain().

    Args:
        app: The app.
        connections: The connections that triggers name, and the default one, or only its address. `load_settings()`
            reads them as the command line does: `settings.redis_connections()`.
        settings: How the host runs: `settings.host` of what `load_settings()` returns.
        instance: The instance's name, which must be unique. Default: a random one.
        registry: Where the metrics are registered. Default: a registry of the host's own, `host.registry`.

    Raises:
        ConfigurationError: A trigger names a connection that there is not, or that cannot be used.
    """

    def __init__(
        self,
        app: App,
        connections: Connections | str,
        settings: HostSettings | None = None,
        *,
        instance: str | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self.app_name = app.name
        self.instance = instance or instance_name()
        self.settings = settings or HostSettings()
        self.registry = registry or CollectorRegistry()
        self._metrics = HostMetrics(self.registry)
        self._isolation = Isolation()
        self._owns_process = False
        self._heartbeat: int | None = None
        Info("triggerfish_build", "The running version.", registry=self.registry).info({"version": __version__})
        self._clients = Clients(f"triggerfish:host:{app.name}:{self.instance}", self._metrics.untold_changes.inc)
        connections = Connections(SecretStr(connections)) if isinstance(connections, str) else connections
        self._middleware = tuple(app.middlewares)
        self._lifespan = Lifespan(app.lifespan_function, app.name, on_lost=self.drain)
        self._draining = asyncio.Event()
        self._entered = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._has_run = False
        self._drained_by = math.inf
        self._exit_status = 0
        self._max_bytes = MAX_BYTES // max(1, len(app.functions))
        specs = {name: connections.resolve_for(name, function.trigger) for name, function in app.functions.items()}
        self.listeners = [self._listener(function, specs[name]) for name, function in app.functions.items()]

    @property
    def ready(self) -> bool:
        """Whether the lifespan has been entered, and every trigger's Redis reached once."""
        return all(listener.ready.is_set() for listener in self.listeners)

    @property
    def is_busy(self) -> bool:
        """Whether any entry is in progress in this process."""
        return any(listener.is_busy for listener in self.listeners)

    def drain(self) -> None:
        """Stop taking entries. run() returns when those in progress are finished or released."""
        self._drained_by = min(self._drained_by, time.monotonic() + self.settings.grace_period_seconds)
        self._draining.set()
        for listener in self.listeners:
            listener.drain()

    async def __aenter__(self) -> Self:
        """Run until the block ends. It begins once the app's lifespan has been entered, even if Redis is down.

        Raises LifespanError if that fails, and ConfigurationError if this host has run before.
        """
        if self._has_run or self._running is not None or self._draining.is_set():
            raise ConfigurationError("host", None, RUN_BEFORE)
        self._running = asyncio.create_task(self.run(), name="host")
        entering = asyncio.create_task(self._entered.wait())
        try:
            await asyncio.wait([self._running, entering], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._running.cancel()
            raise
        finally:
            entering.cancel()
        if self._running.done():
            await self._running
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drain: calls in progress have the grace period to finish, and other entries are released."""
        self.drain()
        if self._running is not None:
            await self._running

    async def run(self) -> None:
        """Run until drained. If it is cancelled, calls in progress are cancelled and their entries released.

        Raises ConfigurationError if the HTTP port cannot be bound or this host has run before, and LifespanError if the
        app's lifespan fails.
        """
        if self._has_run:
            raise ConfigurationError("host", None, RUN_BEFORE)
        self._has_run = True
        supervisor = Supervisor()
        watchdog = Watchdog(
            self._metrics.blocks, hung_after_seconds=self._hung_after_seconds(), dump_stacks=self._owns_process
        )
        supervisor.start()
        runner: web.AppRunner | None = None
        try:
            runner = await self._serve_http(supervisor, watchdog)
            log.info(
                "%s runs as %s: %s",
                self.app_name,
                self.instance,
                ", ".join(listener.function.name for listener in self.listeners),
            )
            self._watch(supervisor, watchdog)
            if await self._lifespan.enter(self._draining):
                self._entered.set()
                try:
                    await self._run_listeners()
                finally:
                    await self._leave_lifespan()
        finally:
            try:
                if runner is not None:
                    await supervisor.call(runner.cleanup())
            finally:
                await supervisor.stop()
                watchdog.stop()
                await self._clients.aclose()
        log.info("%s has drained", self.instance)

    async def _run_listeners(self) -> None:
        async with asyncio.TaskGroup() as group:
            for listener in self.listeners:
                group.create_task(listener.run(self.settings.grace_period_seconds), name=listener.function.name)

    async def _leave_lifespan(self) -> None:
        """Leave the lifespan within what is left of the grace period. One that blocks the event loop ends with the
        process.
        """
        seconds = max(MIN_LEAVE_SECONDS, min(self._drained_by - time.monotonic(), self.settings.grace_period_seconds))
        bound = seconds + LEAVE_MARGIN_SECONDS
        with exit_after(bound, self._exit_status) if self._owns_process else contextlib.nullcontext():
            await self._lifespan.leave(seconds)

    def _is_hung(self, watchdog: Watchdog) -> bool:
        """Return whether a call blocks the event loop for too long. A lifespan may: it has no time limit."""
        return watchdog.is_hung() and not self._lifespan.is_entering

    def _watch(self, supervisor: Supervisor, watchdog: Watchdog) -> None:
        watchdog.start()
        supervisor.add(watchdog.watch)
        supervisor.add(self._clients.close_leases_at_end)
        if self._heartbeat is not None:
            supervisor.add(
                functools.partial(
                    send_heartbeat, self._heartbeat, lambda: self._is_hung(watchdog), is_ready=lambda: self.ready
                )
            )
        for listener in self.listeners:
            if listener.keeper is not None:
                supervisor.add(functools.partial(listener.keeper.run, watchdog.is_hung))

    def _hung_after_seconds(self) -> float:
        longest = max((listener.function.trigger.call_timeout_seconds for listener in self.listeners), default=0.0)
        return longest + HUNG_MARGIN_SECONDS

    async def run_until_signalled(self, heartbeat: int | None = None, *, signalled_status: int = 0) -> None:
        """Run until drained. SIGTERM or SIGINT drains the host, and another one a second later, or more, exits at once.

        After an immediate exit, entries in progress become available again when their leases end. `heartbeat` is the
        descriptor of a pipe to which the host writes while it is not hung. After a signal, a lifespan that blocks the
        event loop ends the process with `signalled_status`.
        """
        self._owns_process = True
        self._heartbeat = heartbeat

        def signalled(number: signal.Signals) -> None:
            self._exit_status = signalled_status
            self._signalled(number)

        with on_termination(signalled, is_starting=lambda: self._lifespan.is_entering, status=signalled_status):
            await self.run()

    def _signalled(self, number: signal.Signals) -> None:
        self.drain()
        log.info(
            "%s: draining; entries in progress have up to %g s to finish. Another signal after %g s exits at once",
            number.name,
            self.settings.grace_period_seconds,
            SAME_REQUEST_SECONDS,
        )

    async def _serve_http(self, supervisor: Supervisor, watchdog: Watchdog) -> "web.AppRunner | None":
        if self.settings.http_port is None:
            return None
        from listeners.host.http import health_app  # noqa: PLC0415  (aiohttp is slow to import)
        from listeners.runtime.http import serve  # noqa: PLC0415  (aiohttp is slow to import)

        app = health_app(self.registry, lambda: self.ready, lambda: self._is_hung(watchdog))
        # The process that this one replaces may not have drained yet. Only one with a parent replaces another.
        shared = self._heartbeat is not None
        serving = serve(app, self.settings.http_host, self.settings.http_port, field="host.http_port", shared=shared)
        runner, port = await supervisor.call(serving)
        log.info("serving metrics and probes on port %d", port)
        return runner

    def _listener(self, function: Function, spec: ConnectionSpec) -> Listener:
        metrics = FunctionMetrics(self._metrics, self.app_name, function.name)
        shared = self._clients.of(spec)
        source = source_for(
            function,
            shared,
            self.settings,
            app_name=self.app_name,
            instance=self.instance,
            metrics=metrics,
            max_bytes=self._max_bytes,
        )
        return Listener(
            function,
            source,
            metrics,
            self._isolation,
            self.settings,
            max_bytes=self._max_bytes,
            surroundings=Surroundings.of(
                self.app_name, function, self._middleware, shared.functions, lambda: self._lifespan.state
            ),
        )
