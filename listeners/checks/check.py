"""Check every trigger of an app: whether it can be read, how, and what may go wrong.

It looks at the server and at the keys, and then executes the commands of each trigger's host, on keys made for it.
"""

import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace

from prometheus_client import CollectorRegistry

from listeners.checks.advice import server_advice, shared_entries
from listeners.checks.commands import CommandReport, command_report
from listeners.checks.leased_trial import try_lists_or_streams
from listeners.checks.pubsub_trial import try_pubsub
from listeners.checks.state import contradictory_types, group_warnings, replica_problem, wrong_types
from listeners.checks.tracking_trial import how_watched
from listeners.connections.named import Connections
from listeners.connections.spec import ConnectionSpec
from listeners.engine.metrics import FunctionMetrics, HostMetrics
from listeners.engine.source import Description
from listeners.errors import SourceError
from listeners.functions.app import App, Function
from listeners.functions.triggers import PubSubTrigger, StreamTrigger
from listeners.host.clients import Clients
from listeners.host.instance import instance_name
from listeners.host.permissions import permissions_for
from listeners.host.sources import source_for
from listeners.keys import lease_key
from listeners.leases.kubernetes_lease import wants_kubernetes
from listeners.redis.acl import NO_ACL, acl_setuser
from listeners.redis.client import Client
from listeners.redis.keyspace import merge_suggestions
from listeners.settings import HostSettings

__all__ = ["CheckResult", "acl_commands", "check"]

CLIENT_NAME = "triggerfish:check"


@dataclass(frozen=True)
class CheckResult:
    """The result for one function's trigger. `detail` is how it will be read, or what is wrong; `watched` is how the
    scaler will notice changes, empty if it does not measure the trigger.

    `warnings` concern the trigger, and also its server unless an earlier result has warned about the server.
    """

    function: str
    reads: str
    address: str
    detail: str
    works: bool
    warnings: tuple[str, ...] = ()
    watched: str = ""


async def check(
    app: App, connections: Connections, settings: HostSettings, *, write: bool = True
) -> AsyncIterator[CheckResult]:
    """Check the triggers, and yield the results in the order of declaration. Without `write`, nothing is changed.

    Raises ConfigurationError if a connection is unknown or unusable.
    """
    results = [result async for result in _check_each(app, connections, settings, write=write)]
    merged: dict[str, Iterator[str]] = {}
    for address in dict.fromkeys(result.address for result in results):
        merged[address] = iter(merge_suggestions([one.detail for one in results if one.address == address]))
    for result in results:
        yield replace(result, detail=next(merged[result.address]))


async def _check_each(
    app: App, connections: Connections, settings: HostSettings, *, write: bool
) -> AsyncIterator[CheckResult]:
    """Check the triggers one after another."""
    specs = {name: connections.resolve_for(name, function.trigger) for name, function in app.functions.items()}
    advised: set[ConnectionSpec] = set()
    before: list[Function] = []
    for function in app.functions.values():
        spec = specs[function.name]
        try:
            result = await _check_function(function, spec, settings, app.name, write=write)
            same_redis = [other for other in before if specs[other.name].address == spec.address]
            if problems := contradictory_types(function, same_redis, app.name):
                result = replace(result, detail="; ".join([result.detail, *problems]), works=False)
            warnings = [*result.warnings, *shared_entries(function, same_redis)]
            before.append(function)
            if spec not in advised:
                sharing = [other for other in app.functions.values() if specs[other.name] == spec]
                warnings += await _advice(spec, sharing)
                advised.add(spec)
            yield replace(result, warnings=tuple(warnings))
        except SourceError as error:
            yield CheckResult(function.name, function.trigger.reads, spec.address, str(error), works=False)


async def _check_function(
    function: Function, spec: ConnectionSpec, settings: HostSettings, app_name: str, *, write: bool
) -> CheckResult:
    """Check one trigger. Raises SourceError if its server cannot be reached."""
    description = await _describe(function, spec, settings, app_name)
    broken, warnings = list[str](), list[str]()
    if description.problem and description.level < logging.ERROR:
        warnings.append(f"{function.name}: {description.problem}")
    elif description.problem:
        broken.append(description.problem)
    report = await _commands(function, spec, app_name)
    broken += [report.broken] if report.broken else []
    warnings += report.warnings
    redis_lease = (
        isinstance(function.trigger, PubSubTrigger)
        and function.trigger.singleton
        and not wants_kubernetes(settings.pubsub_lease)
    )
    client = Client(spec, CLIENT_NAME)
    try:
        server = await client.server()
        if problem := await replica_problem(client, function, redis_lease=redis_lease):
            broken.append(problem)
        broken += await wrong_types(client, function, app_name, redis_lease=redis_lease)
        if isinstance(function.trigger, StreamTrigger):
            warnings += [f"{function.name}: {text}" for text in await group_warnings(client, function.trigger)]
        if write and not broken and not report.may_try:
            warnings.append(f"{function.name}: its commands were not executed, because of the denied ones")
        elif write and not broken:
            lease = lease_key(app_name, function.name) if redis_lease else None
            if problem := await _try(function, client, spec, settings, lease):
                broken.append(problem)
        watched = ""
        if not isinstance(function.trigger, PubSubTrigger):
            watched = await how_watched(client, server, function.trigger, write=write and not broken)
    finally:
        await client.aclose()
    detail = "; ".join([description.text, *broken])
    return CheckResult(
        function.name,
        function.trigger.reads,
        spec.address,
        detail,
        works=not broken,
        warnings=tuple(warnings),
        watched=watched,
    )


async def _try(
    function: Function, client: Client, spec: ConnectionSpec, settings: HostSettings, lease: str | None
) -> str:
    """Execute the function's commands. Return what failed, or ""."""
    trigger = function.trigger
    try:
        if isinstance(trigger, PubSubTrigger):
            await try_pubsub(trigger, client, lease, settings.pubsub_lease_seconds)
        else:
            await try_lists_or_streams(function, trigger, client, spec, settings)
    except SourceError as error:
        return f"its commands, executed on keys of the check, fail: {error}"
    return ""


async def acl_commands(app: App, connections: Connections) -> AsyncIterator[tuple[str, str]]:
    """Yield the address of each Redis that the app uses, and the ACL SETUSER command for the app's user.

    Raises SourceError if a server cannot be reached, ConfigurationError if a connection is unknown or unusable.
    """
    functions: dict[ConnectionSpec, list[Function]] = {}
    for function in app.functions.values():
        functions.setdefault(connections.resolve_for(function.name, function.trigger), []).append(function)
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


async def _describe(function: Function, spec: ConnectionSpec, settings: HostSettings, app_name: str) -> Description:
    metrics = FunctionMetrics(HostMetrics(CollectorRegistry()), app_name, function.name)
    clients = Clients(CLIENT_NAME, on_untold=lambda: None)
    shared = clients.of(spec)
    source = source_for(function, shared, settings, app_name=app_name, instance=instance_name(), metrics=metrics)
    try:
        return await source.describe()
    finally:
        await source.close()
        await clients.aclose()


async def _commands(function: Function, spec: ConnectionSpec, app_name: str) -> CommandReport:
    client = Client(spec, CLIENT_NAME)
    try:
        server = await client.server()
        needs = permissions_for(function, app_name, server)
        return await command_report(client.first_node, server, function.name, needs)
    finally:
        await client.aclose()


async def _advice(spec: ConnectionSpec, functions: list[Function]) -> list[str]:
    client = Client(spec, CLIENT_NAME)
    try:
        triggers = [function.trigger for function in functions]
        advice = await server_advice(client.first_node, triggers, under_sentinel=spec.service is not None)
    finally:
        await client.aclose()
    return [f"{spec.address}: {text}" for text in advice]
