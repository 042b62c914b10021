"""The scaler's HTTP endpoints: metrics, probes, and the triggers as JSON."""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from listeners.errors import SourceError, TriggerfishError
from listeners.health import add_health_routes
from listeners.triggers import PolledTrigger, PubSubTrigger
from scaler.backlog import KeyBacklog
from scaler.evaluation import Evaluator, Watched

__all__ = ["http_app", "trigger_json"]


def http_app(evaluator: Evaluator, registry: CollectorRegistry, ready: Callable[[], bool]) -> web.Application:
    """The application: /livez, /readyz, /metrics, /api/v1/triggers and /api/v1/triggers/NAMESPACE/NAME/METRIC."""

    async def triggers(_: web.Request) -> web.Response:
        return web.json_response({"triggers": [trigger_json(watched) for watched in evaluator.watched()]})

    async def trigger(request: web.Request) -> web.Response:
        """One trigger, measured now: a number, or an error that is not a number (KEDA's metrics-api reads it)."""
        found = next((watched for watched in evaluator.watched() if _path(watched) == request.match_info["path"]), None)
        if found is None:
            return web.json_response({"error": "no such trigger: /api/v1/triggers lists those there are"}, status=404)
        try:
            await evaluator.evaluate(found.origin, found.scaled)
        except TriggerfishError as error:
            status = 503 if isinstance(error, SourceError) else 409
            return web.json_response({**trigger_json(found), "error": str(error)}, status=status)
        return web.json_response(trigger_json(found))

    app = web.Application()
    add_health_routes(app, registry, ready)
    app.add_routes([web.get("/api/v1/triggers", triggers), web.get("/api/v1/triggers/{path:.+}", trigger)])
    return app


def trigger_json(watched: Watched) -> dict[str, Any]:
    """A trigger as JSON: what it reads and, if it is known, what waits and what should run."""
    scaled, trigger, last = watched.scaled, watched.scaled.trigger, watched.last
    shown: dict[str, Any] = {
        "path": _path(watched),
        "namespace": watched.origin.namespace,
        "scaledObject": watched.origin.name,
        "metricName": scaled.metric_name,
        "app": scaled.app,
        "function": scaled.function,
        "type": trigger.type_name,
        "connection": trigger.connection,
        "known": watched.known,
    }
    if isinstance(trigger, PubSubTrigger):
        shown["channel"] = trigger.channel
    if isinstance(trigger, PolledTrigger):
        shown["messagesPerWorker"] = trigger.messages_per_worker
    if not watched.known or last is None:
        return {**shown, "reason": watched.error or "not measured yet"}
    shown |= {"target": last.target, "active": last.active, "sampleAgeSeconds": round(last.age_seconds, 3)}
    if last.backlog is not None:
        shown |= {"backlog": last.backlog.entries, "keys": [_key_json(key) for key in last.backlog.keys]}
    return shown


def _key_json(key: KeyBacklog) -> dict[str, Any]:
    if key.lag is None:
        return {"key": key.key, "length": key.length, "inFlight": key.in_flight}
    lag = {"entries": key.lag.entries, "how": key.lag.how, "capped": key.lag.capped}
    return {"key": key.key, "length": key.length, "pending": key.pending, "lag": lag}


def _path(watched: Watched) -> str:
    return f"{watched.origin.namespace}/{watched.origin.name}/{watched.scaled.metric_name}".lstrip("/")
