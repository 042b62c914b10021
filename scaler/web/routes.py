"""The scaler's HTTP endpoints: metrics, probes, triggers as JSON, and the status page."""

from collections.abc import Callable
from itertools import chain

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from listeners.errors import SourceError, TriggerfishError
from listeners.runtime.http import add_probe_routes, stream
from scaler.evaluation.evaluator import Evaluator
from scaler.monitoring.status import list_as_json, owner_and_metric, trigger_status
from scaler.monitoring.trigger_metrics import TriggerCollector
from scaler.web.page import PAGE_HEADERS, status_page
from scaler.web.peers import IDENTITY_HEADER, PEER_PATH, Peers, own_lines
from scaler.web.streaming import on_a_thread, sliced

__all__ = ["http_app"]

TRIGGERS_PATH = "/api/v1/triggers"


def http_app(
    evaluator: Evaluator, peers: Peers, registry: CollectorRegistry, ready: Callable[[], bool]
) -> web.Application:
    """Return the app with /, /livez, /readyz, /metrics, /api/v1/peer, /api/v1/triggers and
    /api/v1/triggers/NAMESPACE/NAME/METRIC.
    """

    async def metrics(request: web.Request) -> web.StreamResponse:
        events = [generate_latest(registry)]
        # On a thread, since rendering thousands of triggers would block KEDA's calls.
        expositions = chain(events, TriggerCollector(evaluator.tracked()).expositions())
        return await stream(request, CONTENT_TYPE_LATEST, on_a_thread(expositions))

    async def triggers(request: web.Request) -> web.StreamResponse:
        answers = await peers.ask()
        pieces = list_as_json(answers.with_own(evaluator.tracked()), answers.problems)
        return await stream(request, "application/json; charset=utf-8", sliced(pieces))

    async def own(request: web.Request) -> web.StreamResponse:
        """List the triggers of this scaler for another one."""
        identity = {IDENTITY_HEADER: peers.identity}
        return await stream(request, "application/x-ndjson", sliced(own_lines(evaluator.tracked())), identity)

    async def trigger(request: web.Request) -> web.Response:
        """Measure one trigger now. An error response has no `target` for KEDA's metrics-api to read."""
        # The raw path, in which a slash in a name is still escaped.
        named = owner_and_metric(request.rel_url.raw_path.removeprefix(TRIGGERS_PATH + "/"))
        found = evaluator.find(*named) if named else None
        if found is None and IDENTITY_HEADER not in request.headers:
            elsewhere = await peers.find(request.rel_url.raw_path)
            if elsewhere is not None:
                status, body = elsewhere
                return web.Response(status=status, body=body, content_type="application/json", charset="utf-8")
        if found is None:
            return web.json_response({"error": "unknown trigger; /api/v1/triggers lists all"}, status=404)
        try:
            await evaluator.evaluate(found.owner, found.scaled)
        except TriggerfishError as error:
            status = 503 if isinstance(error, SourceError) else 409
            return web.json_response({**trigger_status(found).as_json(), "error": str(error)}, status=status)
        return web.json_response(trigger_status(found).as_json())

    async def page(request: web.Request) -> web.StreamResponse:
        """Return the status page."""
        answers = await peers.ask()
        pieces = status_page(answers.with_own(evaluator.tracked()), answers.problems)
        return await stream(request, "text/html; charset=utf-8", sliced(pieces), PAGE_HEADERS)

    app = web.Application()
    add_probe_routes(app, ready)
    app.add_routes(
        [
            web.get("/", page),
            web.get("/metrics", metrics),
            web.get(PEER_PATH, own),
            web.get(TRIGGERS_PATH, triggers),
            web.get(TRIGGERS_PATH + "/{path:(?s:.+)}", trigger),
        ]
    )
    return app
