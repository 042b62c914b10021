"""Looks at every trigger of an app without changing anything: can it be read, how, and what may go wrong."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from listeners.checks.advice import denied_commands, server_advice
from listeners.connections.named import Connections
from listeners.connections.spec import ConnectionSpec
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.errors import SourceError
from listeners.functions.app import App, Function
from listeners.host.host import instance_name
from listeners.host.permissions import permissions_for
from listeners.host.sources import source_for
from listeners.redis.acl import NO_ACL, SampleCommand, acl_setuser
from listeners.redis.client import Client
from listeners.settings import HostSettings

__all__ = ["CheckResult", "acl_commands", "check"]

CLIENT_NAME = "triggerfish:check"
FIX = "allow what `triggerfish check --acl` prints"


@dataclass(frozen=True)
class CheckResult:
    """What was found of one function's trigger. `detail` says how it will be read, or what is wrong.

    `warnings` are sentences about the trigger, and about its server if no function before it has them already.
    """

    function: str
    reads: str
    address: str
    detail: str
    works: bool
    warnings: tuple[str, ...] = ()


async def check(app: App, connections: Connections, settings: HostSettings) -> AsyncIterator[CheckResult]:
    """Look at the triggers one after the other. Raises ConfigurationError for a connection that does not exist."""
    name = app.name or "app"
    specs = {function.name: connections.resolve(function.trigger) for function in app.functions.values()}
    advised: set[ConnectionSpec] = set()
    for function in app.functions.values():
        spec = specs[function.name]
        try:
            line = await _described(function, spec, settings, name)
            broken, warnings = await _permissions(function, spec, name)
            if spec not in advised:
                sharing = [other for other in app.functions.values() if specs[other.name] == spec]
                warnings += await _advice(spec, sharing)
                advised.add(spec)
            works = not broken
            line = f"{line}; {broken}" if broken else line
        except SourceError as error:
            line, works, warnings = str(error), False, []
        yield CheckResult(function.name, function.trigger.reads, spec.address, line, works, tuple(warnings))


async def acl_commands(app: App, connections: Connections) -> AsyncIterator[tuple[str, str]]:
    """For each Redis that the app uses its address and the ACL SETUSER command for the app's user.

    Raises SourceError if a server cannot be reached, ConfigurationError for a connection that does not exist.
    """
    name = app.name or "app"
    functions: dict[ConnectionSpec, list[Function]] = {}
    for function in app.functions.values():
        functions.setdefault(connections.resolve(function.trigger), []).append(function)
    for spec, using in functions.items():
        client = Client(spec, CLIENT_NAME)
        try:
            server = await client.server()
        finally:
            await client.aclose()
        if not server.supports(6):
            yield spec.address, f"# {server} {NO_ACL}"
            continue
        needs = [permissions_for(function, name, server) for function in using]
        yield spec.address, acl_setuser(spec.username, name, needs, server, database=spec.database)


async def _described(function: Function, spec: ConnectionSpec, settings: HostSettings, app_name: str) -> str:
    metrics = FunctionMetrics(HostMetrics(CollectorRegistry()), app_name, function.name)
    source = source_for(function, spec, settings, app_name=app_name, instance=instance_name(), metrics=metrics)
    try:
        return await source.describe()
    finally:
        await source.close()


async def _permissions(function: Function, spec: ConnectionSpec, app_name: str) -> tuple[str, list[str]]:
    """What keeps the trigger from being read, or nothing; and what else the user may not do."""
    client = Client(spec, CLIENT_NAME)
    try:
        server = await client.server()
        needs = permissions_for(function, app_name, server)
        denied = await denied_commands(client.first_node, server, [*needs.host, *needs.more])
    finally:
        await client.aclose()
    essential = set(needs.host)
    host = [(call, said) for call, said in denied if call in essential]
    named = {call[0] for call, _ in host}
    more = [(call, said) for call, said in denied if call not in essential and call[0] not in named]
    broken = f"{_named(host)}: {FIX}" if host else ""
    return broken, [
        f"{function.name}: measuring or `triggerfish dead` will fail: {_named(more)}: {FIX}"
    ] if more else []


def _named(denied: list[tuple[SampleCommand, str]]) -> str:
    """The denied commands, and what the server says of the first."""
    commands = ", ".join(dict.fromkeys(call[0] for call, _ in denied))
    return f"{commands} denied ({denied[0][1]})"


async def _advice(spec: ConnectionSpec, functions: list[Function]) -> list[str]:
    client = Client(spec, CLIENT_NAME)
    try:
        triggers = [function.trigger for function in functions]
        advice = await server_advice(client.first_node, triggers, under_sentinel=spec.service is not None)
    finally:
        await client.aclose()
    return [f"{spec.address}: {sentence}" for sentence in advice]
