"""The scenario as a Triggerfish app, run by `triggerfish run`."""

from benchmarks.host.contenders.tally import Tally
from benchmarks.host.scenarios import GROUP, KEY, Scenario
from triggerfish import App

app = App("bench")
tally = Tally()


async def handle_text(text: str) -> None:
    """Handle an element or a message."""
    tally.handled()


async def handle_texts(texts: list[str]) -> None:
    """Handle a batch of elements."""
    tally.handled(len(texts))


async def handle_fields(fields: dict[str, str]) -> None:
    """Handle a stream entry."""
    tally.handled()


async def handle_many_fields(entries: list[dict[str, str]]) -> None:
    """Handle a batch of stream entries."""
    tally.handled(len(entries))


def register(scenario: Scenario) -> None:
    """Register the handler for the scenario."""
    if scenario.kind == "pubsub":
        app.pubsub_trigger(channel=KEY)(handle_text)
    elif scenario.kind == "list":
        trigger = app.list_trigger(keys=KEY, batch_size=scenario.batch, delivery=scenario.delivery)
        trigger(handle_texts if scenario.batch_calls else handle_text)
    else:
        stream = app.stream_trigger(keys=KEY, batch_size=scenario.batch, consumer_group=GROUP)
        stream(handle_many_fields if scenario.batch_calls else handle_fields)


register(Scenario.from_environment())
