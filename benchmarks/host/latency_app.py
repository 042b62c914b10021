"""The app that `benchmarks.host.latency` measures: each function reports the time from sending to its call."""

import os
import socket
import time

from triggerfish import App

app = App("latency")

_reports = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
_reports.setblocking(False)
_address = os.environ.get("LATENCY_SOCKET", "")


def report(sent_ns: str) -> None:
    """Send the latency to the benchmark, in nanoseconds of the clock that all processes of a machine share."""
    _reports.sendto(str(time.monotonic_ns() - int(sent_ns)).encode(), _address)


@app.list_trigger(keys="latency:list")
async def on_element(element: str) -> None:
    report(element)


@app.stream_trigger(keys="latency:stream", consumer_group="latency", delete_after_process=True)
async def on_entry(entry: dict[str, str]) -> None:
    report(entry["sent"])


@app.pubsub_trigger(channel="latency:channel")
async def on_message(message: str) -> None:
    report(message)
