"""The app whose idleness is measured: IDLE_TRIGGERS functions of the kind IDLE_KIND."""

import os

from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from triggerfish import App

app = App("idle")


async def handle(_message: str) -> None:
    """Never called."""


def trigger(kind: str, number: int) -> Trigger:
    """A trigger of its own."""
    key = f"idle:{number}"
    if kind == "list":
        return ListTrigger(keys=(key,))
    return StreamTrigger(keys=(key,)) if kind == "stream" else PubSubTrigger(channel=key)


for at in range(int(os.environ.get("IDLE_TRIGGERS", "1"))):
    app.add(handle, trigger(os.environ.get("IDLE_KIND", "list"), at), f"handle_{at}")
