"""Check every trigger of an app, read-only: whether it can be read, how, and what may go wrong."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry

from listeners.checks.advice import denied_commands, server_advice
from listeners.connections.named import Connections
from listeners.connections.spec import ConnectionSpec
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.errors import SourceError
from listeners.functions.app import App, Function
from listeners.host.instance import instance_name
from listeners.host.permissions import permissions_for
from listeners.host.sources import source_for
from listeners.redis.acl import NO_ACL, SampleCommand, acl_setuser
from listeners.redis.client import Client
from listeners.redis.keyspace import merge_suggestions
from listeners.settings import HostSettings

__all__ = ["CheckResult", "acl_commands", "check"]

CLIENT_NAME = "triggerfish:check"
FIX = "allow it with the command that `triggerfish check --acl` prints"


@dataclass(frozen=True)
class CheckResult:
    """The result for one function's trigger. `detail` is how it will be read, or what is wrong.

    `warnings` concern the trigger, and also its server unless an earlier result has warned about the server.
    """

    function: str
    reads: str
    address: str
    detail: str
    works: bool
    warnings: tuple[str, ...] = ()


async def check(app: App, connections: Connections, settings: HostSettings) -> AsyncIterator[CheckResult]:
    """Check the triggers, and yield the results in the order of declaration.

    Raises ConfigurationError if a connection is unknown or unusable.
    """
    results = [result async for result in _check_each(app, connections, settings)]
    merged: dict[str, Iterator[str]] = {}
    for address in dict.fromkeys(result.address for result in results):
        merged[address] = iter(merge_suggestions([one.detail for one in results if one.address == address]))
    for result in results:
        yield replace(result, detail=next(merged[result.address]))


async def _check_each(app: App, connections: Connections, settings: HostSettings) -> AsyncIterator[CheckResult]:
    """Check the triggers one after another."""
    specs = {function.name: connections.resolve(function.trigger) for function in app.functions.values()}
    advised: set[ConnectionSpec] = set()
    for function in app.functions.values():
        spec = specs[function.name]
        try:
            detail = await _describe(function, spec, settings, app.name)
            broken, warnings = await _permissions(function, spec, app.name)
            if spec not in advised:
                sharing = [other for other in app.functions.values() if specs[other.name] == spec]
                warnings += await _advice(spec, sharing)
                advised.add(spec)
            works = not broken
            detail = f"{detail}; {broken}" if broken else detail
        except SourceError as error:
            detail, works, warnings = str(error), False, []
        yield CheckResult(function.name, function.trigger.reads, spec.address, detail, works, tuple(warnings))


async def acl_commands(app: App, connections: Connections) -> AsyncIterator[tuple[str, str]]:
    """Yield the address of each Redis that the app uses, and the ACL SETUSER command for the app's user.

    Raises SourceError if a server cannot be reached, ConfigurationError if a connection is unknown or unusable.
    """
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
        needs = [permissions_for(function, app.name, server) for function in using]
        yield spec.address, acl_setuser(spec.username, app.name, needs, server, database=spec.database)


async def _describe(function: Function, spec: ConnectionSpec, settings: HostSettings, app_name: str) -> str:
    metrics = FunctionMetrics(HostMetrics(CollectorRegistry()), app_name, function.name)
    source = source_for(function, spec, settings, app_name=app_name, instance=instance_name(), metrics=metrics)
    try:
        return await source.describe()
    finally:
        await source.close()


async def _permissions(function: Function, spec: ConnectionSpec, app_name: str) -> tuple[str, list[str]]:
    """Return what prevents the trigger from being read, empty if nothing, and warnings about other denied commands."""
    client = Client(spec, CLIENT_NAME)
    try:
        server = await client.server()
        needs = permissions_for(function, app_name, server)
        denied = await denied_commands(client.first_node, server, [*needs.host, *needs.more])
    finally:
        await client.aclose()
    essential = set(needs.host)
    host = [(call, refusal) for call, refusal in denied if call in essential]
    reported = {call[0] for call, _ in host}
    more = [(call, refusal) for call, refusal in denied if call not in essential and call[0] not in reported]
    sizes = [(call, refusal) for call, refusal in more if call[0] == "MEMORY"]
    failing = [each for each in more if each not in sizes]
    warnings: list[str] = []
    if failing:
        warnings.append(f"{function.name}: measuring or `triggerfish dead` will fail: {_denials(failing)}: {FIX}")
    if sizes:
        warnings.append(
            f"{function.name}: dead letters are bounded in number but not in size: {_denials(sizes)}: {FIX}"
        )
    return f"{_denials(host)}: {FIX}" if host else "", warnings


def _denials(denied: list[tuple[SampleCommand, str]]) -> str:
    """Return the denied commands, and the server's error for the first."""
    commands = ", ".join(dict.fromkeys(call[0] for call, _ in denied))
    return f"{commands} denied ({denied[0][1]})"


async def _advice(spec: ConnectionSpec, functions: list[Function]) -> list[str]:
    client = Client(spec, CLIENT_NAME)
    try:
        triggers = [function.trigger for function in functions]
        advice = await server_advice(client.first_node, triggers, under_sentinel=spec.service is not None)
    finally:
        await client.aclose()
    return [f"{spec.address}: {text}" for text in advice]
