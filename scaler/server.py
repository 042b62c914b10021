"""Runs the scaler: gRPC for KEDA; HTTP for metrics, JSON and the status page."""

import asyncio
import gc
import signal
from collections.abc import Callable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from listeners.errors import ConfigurationError, TriggerfishError
from listeners.runtime.http import serve
from listeners.runtime.logs import steady_logger
from listeners.runtime.signals import SAME_REQUEST_SECONDS, on_termination
from scaler.access.access import Access
from scaler.access.connection_files import ConnectionFiles
from scaler.evaluation.evaluator import Evaluator
from scaler.keda.certificates import Certificates
from scaler.keda.grpc_server import GrpcServer
from scaler.keda.service import ExternalScaler
from scaler.measuring.samplers import GuardedSamplers
from scaler.monitoring.metrics import PushCollector, ScalerMetrics
from scaler.push.hub import ActivationHub
from scaler.push.loop import PushPace
from scaler.settings import Settings
from scaler.triggers.metadata import ScaledTrigger, read_metadata
from scaler.triggers.owner import Owner
from scaler.web.peers import Peers
from scaler.web.routes import http_app

__all__ = ["ScalerServer"]

log = steady_logger("triggerfish.scaler")

#: How often replaceable files are checked. The kubelet takes up to a minute to update a mounted Secret.
FILE_CHECK_SECONDS = 2.0
#: The thresholds of gc.set_threshold(): allocations before the young generation is collected, and collections of each
#: generation before the next older one is collected. The first two generations stay small, because their collection
#: delays every activation: by 80 ms where 5,000 allocations are waited for, as objects that are freed count against
#: those that are made, so that streams which come and go leave many more.
GC_THRESHOLDS = (500, 1, 5_000)


class ScalerServer:
    """The scale controller as a service. `access` defaults to what the settings allow.

    Raises ConfigurationError for unusable settings.
    """

    def __init__(self, settings: Settings, *, access: Access | None = None) -> None:
        self._settings = settings
        self._registry = CollectorRegistry()
        self.metrics = ScalerMetrics(self._registry)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        bound_seconds = settings.scaler.bound_seconds
        self._samplers = GuardedSamplers(
            bound_seconds=bound_seconds, on_measured=self.metrics.measured, on_untold=self.metrics.untold_changes.inc
        )
        self._files: ConnectionFiles | None = None
        if access is None:
            self._files = ConnectionFiles(settings, self._reload_error_counter("connection"))
            access = self._files.access
        self.evaluator = Evaluator(access, self._samplers)
        self._hub = ActivationHub(self.evaluator, _push_pace(settings))
        self._registry.register(PushCollector(self._hub))
        self._service = ExternalScaler(self.evaluator, self._hub, self.metrics, settings.scaler.ignored_metadata)
        self._certificates = self._read_certificates()
        self._declared = {
            Owner("", name, declared=True): _parse_declared(name, given) for name, given in settings.triggers.items()
        }
        for owner, scaled in self._declared.items():
            self._check_connection(access, owner, scaled)
        self._peers = Peers(settings.scaler.peers)
        self._stop = asyncio.Event()
        self.started = asyncio.Event()
        self.grpc_port = settings.scaler.grpc_port
        self.http_port = settings.scaler.http_port

    def stop(self) -> None:
        """Make run() return: streams end with OK, and calls in progress finish."""
        self._stop.set()

    async def run(self) -> None:
        """Serve until stopped. Raises ConfigurationError if a port cannot be bound."""
        settings = self._settings.scaler
        grpc_server = GrpcServer(self._service, settings, self._certificates)
        self.grpc_port = grpc_server.port
        app = http_app(self.evaluator, self._peers, self._registry, self.started.is_set)
        runner, self.http_port = await serve(app, settings.http_host, settings.http_port, field="scaler.http_port")
        background = [asyncio.create_task(work) for work in (self._sample_declared(), self._reload_files())]
        try:
            await grpc_server.start()
            self.started.set()
            log.info("serving gRPC for KEDA on port %d, HTTP on port %d", self.grpc_port, self.http_port)
            await self._stop.wait()
        finally:
            await grpc_server.stop(settings.grace_period_seconds)
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await self._hub.close()
            await self._samplers.close()
            await self._peers.close()
            await runner.cleanup()

    async def run_until_signalled(self) -> None:
        """Serve until SIGTERM or SIGINT. Another one a second later, or more, exits at once."""
        with on_termination(self._signalled):
            _collect_garbage_rarely()
            await self.run()

    def _signalled(self, number: signal.Signals) -> None:
        log.info(
            "%s: finishing the requests in progress, for up to %g s. Another signal after %g s exits at once",
            number.name,
            self._settings.scaler.grace_period_seconds,
            SAME_REQUEST_SECONDS,
        )
        self.stop()

    def _read_certificates(self) -> Certificates | None:
        tls = self._settings.scaler.tls
        return Certificates(tls, self._reload_error_counter("certificate")) if tls is not None else None

    def _reload_error_counter(self, what: str) -> Callable[[], None]:
        """Return a function that counts an unusable file."""
        return self.metrics.reload_errors.labels(what).inc

    def _check_connection(self, access: Access, owner: Owner, scaled: ScaledTrigger) -> None:
        """Raise ConfigurationError if a trigger has no usable connection. With `connections_dir`, only log a warning,
        since the connection may appear later.
        """
        try:
            access.resolve(scaled.trigger, None)
        except ConfigurationError as error:
            if self._settings.connections_dir is None:
                error.add_hint(f"It is the connection of triggers.{owner.name}.")
                raise
            log.warning("%s cannot be measured yet: %s", owner.name, error)

    async def _reload_files(self) -> None:
        """Reload files that were replaced, such as those of a mounted Secret, and close idle connections."""
        while True:
            await asyncio.sleep(FILE_CHECK_SECONDS)
            try:
                if self._certificates is not None:
                    await asyncio.to_thread(self._certificates.check)
                if self._files is not None and await asyncio.to_thread(self._files.changed):
                    self._samplers.retire(self._files.use(await asyncio.to_thread(self._files.read)))
                    self._hub.connections_changed()
                self._samplers.close_idle()
            except Exception:  # no content of a file may end this loop
                log.exception("unexpected error while reloading files")

    async def _sample_declared(self) -> None:
        """Sample the declared triggers periodically, so that metrics are complete even without KEDA."""
        for owner, scaled in self._declared.items():
            self.evaluator.track(owner, scaled)
        while True:
            await asyncio.gather(*(self._sample(owner, scaled) for owner, scaled in self._declared.items()))
            await asyncio.sleep(self._settings.scaler.declared_interval_seconds)

    async def _sample(self, owner: Owner, scaled: ScaledTrigger) -> None:
        try:
            await self.evaluator.evaluate(owner, scaled)
        except TriggerfishError as error:
            log.debug("cannot measure %s: %s", owner.name, error)
        except Exception:  # one trigger must not end the sampling of all
            log.exception("unexpected error while sampling %s", owner.name)


def _collect_garbage_rarely() -> None:
    """Make full garbage collections rare, and exempt the objects that exist now. A full collection blocks everything
    for 100 ms, and with a thousand streams there would be one every second. Garbage created later is still collected.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def _push_pace(settings: Settings) -> PushPace:
    return PushPace(settings.scaler.push_interval_seconds, settings.scaler.sampling_commands_per_second)


def _parse_declared(name: str, given: Mapping[str, Any]) -> ScaledTrigger:
    """Parse a trigger in the settings, which have lists and numbers where metadata has text."""
    metadata = {
        key: " ".join(map(str, value)) if isinstance(value, list) else str(value) for key, value in given.items()
    }
    try:
        return read_metadata(metadata)
    except ConfigurationError as error:
        raise ConfigurationError.within(f"triggers.{name}", error) from None
