"""The status page as HTML: its contents, its bounds, and that names cannot become markup."""

import re
import time
from collections.abc import Mapping
from html import unescape

import pytest
import redis.asyncio
from grpc import StatusCode

from listeners.version import __version__
from scaler.evaluation.evaluator import Evaluation, TrackedTrigger
from scaler.triggers.metadata import read_metadata
from scaler.triggers.owner import Owner
from scaler.web.page import PAGE_HEADERS, status_page
from tests.support.running_scaler import RunningScaler, failure, running_scaler
from triggerfish.testing.server import Server, free_port

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "redisListTrigger", "keys": "orders", "function": "handle"}
STREAM = {"type": "redisStreamTrigger", "keys": "payments", "consumerGroup": "billing", "function": "settle"}
PUBSUB = {"type": "redisPubSubTrigger", "channel": "prices.*"}
SCRIPT = "<script>alert(1)</script>"


def text_of(page: str) -> str:
    """Return the visible text: without tags, style and script, with one space between words."""
    body = re.sub(r"<(style|script|title)>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


async def page_of(scaler: RunningScaler) -> str:
    """Fetch the status page."""
    status, page = await scaler.get("/")
    assert status == 200
    return page


def tracked(number: int, metadata: Mapping[str, str] = LIST, **names: str) -> TrackedTrigger:
    """Return a tracked trigger that was never measured."""
    owner = Owner(names.get("namespace", "shop"), names.get("name", f"worker-{number:05}"))
    return TrackedTrigger(owner, read_metadata({**metadata, "function": f"f{number}"}))


async def test_no_triggers_yet(scaler: RunningScaler) -> None:
    """Without triggers, the page describes how to add one."""
    text = text_of(await page_of(scaler))
    assert "0 triggers 0 active 0 unknown" in text
    assert "scalerAddress" in text
    assert "triggerfish probe HOST:6000" in text
    assert __version__ in text


async def test_the_contents(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """Each trigger has its state, source, backlog by part, target and sample age; each group has its target."""
    await client.rpush("orders", *range(1_500))
    await client.zadd("triggerfish:{orders}:inflight", {"a": 1, "b": 2})
    for number in range(30):
        await client.xadd("payments", {"n": number})
    await client.xgroup_create("payments", "billing", id="0")
    await client.xreadgroup("billing", "reader", {"payments": ">"}, count=12)
    for metadata in (LIST, STREAM, {**LIST, "keys": "empty", "function": "idle"}):
        await scaler.keda.poll(metadata)
    await scaler.keda.poll(PUBSUB, name="prices")
    text = text_of(await page_of(scaler))
    assert "4 triggers 3 active 0 unknown" in text
    assert "shop / worker target 16" in text
    assert re.search(
        r"handle list orders active 1,502 1,500 waiting \+ 2 in flight max 1,502 16 100 per worker",
        text,
    )
    assert re.search(
        r"settle stream payments as billing active 30 12 pending \+ 18 lag \((derived|reported|counted)\)", text
    )
    assert re.search(r"idle list empty inactive 0 0 waiting \+ 0 in flight .* 0 100 per worker", text)
    assert re.search(r"shop / prices target 1 .* pattern prices\.\* active", text)


async def test_several_keys(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """Each key of a trigger is shown, but only the first ones of very many."""
    await client.rpush("b", "x")
    await scaler.keda.poll({**LIST, "keys": "a b"})
    await scaler.keda.poll({**LIST, "keys": " ".join(f"k{n}" for n in range(100)), "function": "many"})
    text = text_of(await page_of(scaler))
    assert "1 a: 0 waiting + 0 in flight b: 1 waiting + 0 in flight" in text
    assert "k7: 0 waiting + 0 in flight and 92 more keys" in text


async def test_capped(scaler: RunningScaler, client: redis.asyncio.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backlog that was not counted completely is marked as capped, and shown as a lower bound."""
    monkeypatch.setattr("scaler.triggers.measured_trigger.MIN_COUNT_LIMIT", 10)
    monkeypatch.setattr("scaler.measuring.counting.MAX_PAGE", 5)
    monkeypatch.setattr("scaler.measuring.lag.trusts_lag", lambda *_: False)
    for number in range(1, 61):
        await client.xadd("payments", {"n": number}, id=f"1-{number}")
    await client.xgroup_create("payments", "billing", id="1-30")
    await client.xdel("payments", "1-10", "1-50")
    await scaler.keda.poll({**STREAM, "messagesPerWorker": "1", "maxInstances": "10"})
    text = text_of(await page_of(scaler))
    assert "active capped 10+ 0 pending + 10 lag (at least)" in text


async def test_unknown() -> None:
    """An unknown trigger shows the reason and no number, and comes first. Its ScaledObject's target is unknown."""
    port = free_port()
    async with running_scaler(None, connections={"gone": f"127.0.0.1:{port},password=hunter2"}) as scaler:
        await scaler.keda.poll(PUBSUB, name="a")
        with failure(StatusCode.UNAVAILABLE):
            await scaler.keda.target({**LIST, "connection": "gone"}, name="z")
        with failure(StatusCode.FAILED_PRECONDITION):
            await scaler.keda.target({**LIST, "connection": "other"}, name="y")
        page = await page_of(scaler)
        text = text_of(page)
        assert "<title>2 unknown · Triggerfish</title>" in page
        assert "3 triggers 1 active 2 unknown" in text
        assert re.search(
            rf"shop / z target unknown .* on gone unknown unavailable \? .* never .*127\.0\.0\.1:{port}", text
        )
        assert re.search(r"shop / y target unknown .* unknown configuration \? .*TRIGGERFISH_CONNECTIONS__OTHER", text)
        assert text.index("shop / y") < text.index("shop / z") < text.index("shop / a")
        assert "hunter2" not in page


@pytest.mark.parametrize(
    "odd", [SCRIPT, '"><img src=x onerror=alert(1)>', "</title></style>" + SCRIPT, "{{ 7 * 7 }}", "a\u202eb\x00\n"]
)
def test_names_do_not_become_markup(odd: str) -> None:
    """Whatever a ScaledObject contains, the page has the same tags, and shows the text."""
    plain, page = page_with("plain"), page_with(odd)
    assert re.findall(r"<[^>]*>", page) == re.findall(r"<[^>]*>", plain)
    assert odd.replace("\u202e", r"\u202e").replace("\x00\n", r"\x00\n") in text_of(page)


def page_with(name: str) -> str:
    """Return a page with this name wherever a ScaledObject or an error can put one."""
    scaled = read_metadata({**LIST, "keys": name.replace(" ", "_"), "function": name, "app": name})
    known, failed, declared = (TrackedTrigger(Owner(name, name, declared), scaled) for declared in (False, False, True))
    known.record(Evaluation(1, active=True, backlog=None, taken_at=time.monotonic()))
    failed.reason = failed.error = name
    return "".join(status_page([known, failed, declared]))


async def test_headers(scaler: RunningScaler) -> None:
    """The page may load nothing, may not be framed or cached, and allows no style or script but its own."""
    async with scaler.http.get(f"http://127.0.0.1:{scaler.server.http_port}/") as response:
        assert response.content_type == "text/html"
        assert {name: response.headers[name] for name in PAGE_HEADERS} == PAGE_HEADERS
    policy = PAGE_HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_ten_thousand_triggers() -> None:
    """Of very many triggers, the worst 200 are shown, with a note. The page stays small and quick to make."""
    many = [tracked(number, PUBSUB) for number in range(10_000)]
    for one in many[:-1]:
        one.record(Evaluation(1, active=True, backlog=None, taken_at=time.monotonic()))
    began = time.process_time()
    page = "".join(status_page(many))
    assert time.process_time() - began < 2
    text = text_of(page)
    assert "10,000 triggers 9,999 active 1 unknown" in text
    assert "200 of 10,000 triggers are shown, the worst first" in text
    assert page.count("<tr>") == 200 + 200
    assert text.index("worker-09999") < text.index("worker-00000")
    assert len(page) < 500_000


def test_many_triggers_with_huge_names() -> None:
    """The page stays small, however long names, keys and errors are."""
    many = [tracked(n, {**LIST, "keys": "k" * 19_000}, name="n" * 50_000 + str(n)) for n in range(300)]
    for one in many:
        one.reason, one.error = "unavailable", "e" * 50_000
    assert len("".join(status_page(many))) < 700_000


def test_one_scaledobject_with_many_triggers() -> None:
    """The hidden triggers of a ScaledObject are counted, and its target is that of all its triggers."""
    many = [tracked(number, name="worker") for number in range(250)]
    for number, one in enumerate(many):
        one.record(Evaluation(number, active=True, backlog=None, taken_at=time.monotonic()))
    text = text_of("".join(status_page(many)))
    assert "and 50 more triggers" in text
    assert "shop / worker target 249" in text


async def test_declared_triggers(server: Server) -> None:
    """Declared triggers have their names and their order, and are grouped by app, or as those in the settings."""
    declared = {"zebra": {**LIST, "app": "till"}, "payments": {**STREAM, "app": "till"}, "prices": PUBSUB}
    async with running_scaler(server, triggers=declared) as scaler:
        for owner, scaled in scaler.server._declared.items():
            await scaler.server.evaluator.evaluate(owner, scaled)
        text = text_of(await page_of(scaler))
    assert re.search(
        r"declared / in the settings target 1 .* prices .* declared / till target 0 .* payments .* zebra", text
    )
    assert "triggerfish-" not in text
