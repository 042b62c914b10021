"""The app whose latency is measured: each function answers with the time from the sending to its call."""

import os
import socket
import time

from triggerfish import App

app = App("latency")

_answers = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
_answers.setblocking(False)
_address = os.environ.get("LATENCY_SOCKET", "")


def answer(sent_ns: str) -> None:
    """Tell the benchmark how long it took, in nanoseconds of the clock that all processes of a machine share."""
    _answers.sendto(str(time.monotonic_ns() - int(sent_ns)).encode(), _address)


@app.list_trigger(keys="latency:list")
async def on_element(element: str) -> None:
    answer(element)


@app.stream_trigger(keys="latency:stream", consumer_group="latency", delete_after_process=True)
async def on_entry(entry: dict[str, str]) -> None:
    answer(entry["sent"])


@app.pubsub_trigger(channel="latency:channel")
async def on_message(message: str) -> None:
    answer(message)
