"""The status page in a real browser: what is visible, that it loads nothing, and that it refreshes itself."""

import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import redis.asyncio
from grpc import StatusCode
from playwright.async_api import Browser, Page, async_playwright, expect

from scaler.evaluation.evaluator import TrackedTrigger
from scaler.evaluation.history import SLOT_SECONDS
from tests.support.programs.installed import program
from tests.support.running_scaler import RunningScaler, failure
from tests.support.waiting import eventually

pytestmark = pytest.mark.releases("valkey-9.1")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
HOSTILE = "<img src=//elsewhere.example/x onerror=alert(1)><script>alert(2)</script>"
LIST = {"type": "redisListTrigger", "keys": "orders", "function": "handle_order"}
TRIGGERS = {
    "shop": (LIST, {"type": "redisListTrigger", "keys": "returns refunds", "function": "take_back"},
             {"type": "redisStreamTrigger", "keys": "payments", "consumerGroup": "billing", "function": "settle"}),
    "prices": ({"type": "redisPubSubTrigger", "channel": "prices.*", "function": "reprice"},),
    HOSTILE: ({**LIST, "keys": "empty", "function": HOSTILE},),
}  # fmt: skip
#: Text about them that must be visible.
VISIBLE = """
1,236
1,234 waiting + 2 in flight
list orders
stream payments as billing
refunds: 40
100 per worker
pattern prices.*
inactive
unknown
configuration
WRONGTYPE
TRIGGERFISH_CONNECTIONS__ARCHIVE
""".strip().splitlines()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """The system's Chromium, headless."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=program("chromium"), args=FLAGS)
        yield chromium
        await chromium.close()


@dataclass
class Visit:
    """A page, its requests, and its console messages, errors and dialogs."""

    page: Page
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def visit(
    browser: Browser,
    scaler: RunningScaler,
    *,
    size: dict[str, int] = DESKTOP,
    scheme: Scheme = "light",
    script: bool = True,
) -> AsyncIterator[Visit]:
    """Visit the status page. If scripts are on, the test controls the page's clock."""
    context = await browser.new_context(
        viewport={"width": size["width"], "height": size["height"]}, color_scheme=scheme, java_script_enabled=script
    )
    page = await context.new_page()
    visited = Visit(page)
    page.on("request", lambda request: visited.requests.append(request.url))
    page.on("console", lambda message: visited.messages.append(message.text))
    page.on("pageerror", lambda error: visited.messages.append(str(error)))
    page.on("dialog", lambda dialog: visited.messages.append(dialog.message))
    if script:
        await page.clock.install()
    await page.goto(f"http://127.0.0.1:{scaler.server.http_port}/")
    yield visited
    await context.close()


async def make_all_states(scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """Make active, inactive and unknown triggers of all kinds, with a history of ten minutes."""
    await client.rpush("orders", *range(1_234))
    await client.zadd("triggerfish:{orders}:inflight", {"a": 1, "b": 2})
    await client.rpush("refunds", *range(40))
    for number in range(230):
        await client.xadd("payments", {"n": number})
    for name, triggers in TRIGGERS.items():
        for metadata in triggers:
            await scaler.keda.poll(metadata, name=name)
    for metadata in ({**LIST, "connection": "archive"}, {**LIST, "keys": "payments", "function": "mistaken"}):
        with failure(StatusCode.FAILED_PRECONDITION if "connection" in metadata else StatusCode.UNAVAILABLE):
            await scaler.keda.target(metadata, name="reports")
    for number, tracked in enumerate(scaler.server.evaluator.tracked()):
        make_history(tracked, number)


def make_history(tracked: TrackedTrigger, number: int) -> None:
    """Give a trigger a history: a backlog that rises and falls, with a minute in which Redis was down."""
    if tracked.last is None or tracked.last.backlog is None:
        return
    now, past = time.monotonic(), tracked.history.__class__()
    for slot in range(59, 0, -1):
        wave = abs((slot * (number + 3)) % 40 - 20) * 60
        past.add(now - slot * SLOT_SECONDS, None if 24 < slot < 30 else wave)
    past.add(now, tracked.last.backlog.entries)
    tracked.history = past


async def test_everything_is_visible(
    browser: Browser, scaler: RunningScaler, client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    """The page is readable on a desktop and a phone, light and dark. It loads nothing, and runs only its own script."""
    await make_all_states(scaler, client)
    for scheme, size in itertools.product(SCHEMES, (DESKTOP, PHONE)):
        async with visit(browser, scaler, size=size, scheme=scheme) as visited:
            picture = tmp_path / f"{scheme}-{size['width']}.png"
            await expect_everything(visited.page, size["width"])
            assert await visited.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (
                scheme == "dark"
            )
            await visited.page.screenshot(path=picture, full_page=True)
            assert visited.requests == [visited.page.url]
            assert visited.messages == []
        assert picture.stat().st_size > 10_000


async def expect_everything(page: Page, width: int) -> None:
    """Assert that the triggers of make_all_states() are visible without horizontal scrolling."""
    await expect(page.get_by_role("heading", name="shop / shop")).to_be_visible()
    for text in (*VISIBLE, HOSTILE):
        await expect(page.get_by_text(text).first).to_be_visible()
    assert await page.locator("svg polyline").count() >= 4
    assert await page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_no_triggers_yet(browser: Browser, scaler: RunningScaler, tmp_path: Path, size: dict[str, int]) -> None:
    """Without triggers, the page describes how to add one."""
    async with visit(browser, scaler, size=size) as visited:
        await expect(visited.page.get_by_text("triggerfish probe HOST:6000")).to_be_visible()
        assert await visited.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        await visited.page.screenshot(path=tmp_path / f"empty-{size['width']}.png", full_page=True)
        assert visited.messages == []


async def test_it_refreshes_itself(browser: Browser, scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """After five seconds the page shows new values, keeps its scroll position, and requests only its own address."""
    await make_all_states(scaler, client)
    async with visit(browser, scaler) as visited:
        page = visited.page
        await page.set_viewport_size({"width": 600, "height": 300})
        await page.evaluate("scrollTo(0, 200)")
        await client.rpush("orders", "x")
        await scaler.keda.poll(LIST, name="shop")
        assert len(visited.requests) == 1
        await page.clock.run_for(5_100)
        await expect(page.get_by_text("1,235 waiting")).to_be_visible()
        assert await page.evaluate("scrollY") == 200
        assert visited.requests == [page.url] * 2
        assert visited.messages == []


async def test_a_selection_stops_refreshes(
    browser: Browser, scaler: RunningScaler, client: redis.asyncio.Redis
) -> None:
    """While text is selected, so that it can be copied, the page does not refresh. Afterwards it does again."""
    await make_all_states(scaler, client)
    async with visit(browser, scaler) as visited:
        page = visited.page
        await page.get_by_text("1,234 waiting").first.select_text()
        await page.clock.run_for(20_000)
        assert len(visited.requests) == 1
        await page.evaluate("getSelection().removeAllRanges()")
        await page.clock.run_for(5_100)
        await eventually(lambda: len(visited.requests) == 2)


async def test_the_scaler_does_not_respond(browser: Browser, scaler: RunningScaler) -> None:
    """While the scaler does not respond, the page is marked as stale. It recovers by itself."""
    async with visit(browser, scaler) as visited:
        page = visited.page
        stale = page.get_by_text("The scaler does not respond")
        await expect(stale).to_be_hidden()
        await page.context.set_offline(True)
        await page.clock.run_for(5_100)
        await expect(stale).to_be_visible()
        await page.context.set_offline(False)
        await page.clock.run_for(5_100)
        await expect(stale).to_be_hidden()


async def test_without_javascript(browser: Browser, scaler: RunningScaler, client: redis.asyncio.Redis) -> None:
    """Without scripts, the page has the same content and reloads itself."""
    await make_all_states(scaler, client)
    async with visit(browser, scaler, script=False) as visited:
        await expect(visited.page.get_by_text("1,234 waiting")).to_be_visible()
        await client.rpush("orders", "x")
        await scaler.keda.poll(LIST, name="shop")
        await expect(visited.page.get_by_text("1,235 waiting")).to_be_visible(timeout=15_000)
        assert visited.requests == [visited.page.url] * 2
