"""Looks at every trigger of an app without changing anything: can it be read, and how."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from listeners.app import App
from listeners.connection import Connections
from listeners.errors import SourceError
from listeners.host import instance_name
from listeners.metrics import FunctionMeter, HostMetrics
from listeners.settings import HostSettings
from listeners.sources import source_for

__all__ = ["Finding", "check"]


@dataclass(frozen=True)
class Finding:
    """What was found of one function's trigger. `line` says how it will be read, or what is wrong."""

    function: str
    reads: str
    address: str
    line: str
    works: bool


async def check(app: App, connections: Connections, settings: HostSettings) -> AsyncIterator[Finding]:
    """Look at the triggers one after the other. Raises ConfigurationError for a connection that does not exist."""
    metrics = HostMetrics(CollectorRegistry())
    name = app.name or "app"
    specs = {function.name: connections.resolve(function.trigger) for function in app.functions.values()}
    for function in app.functions.values():
        spec = specs[function.name]
        meter = FunctionMeter(metrics, name, function.name)
        source = source_for(function, spec, settings, app=name, instance=instance_name(), meter=meter)
        try:
            line, works = await source.describe(), True
        except SourceError as error:
            line, works = str(error), False
        finally:
            await source.close()
        yield Finding(function.name, function.trigger.reads, spec.address, line, works)
