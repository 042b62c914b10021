"""The app that `benchmarks.host.idle` measures: IDLE_TRIGGERS functions with triggers of the kind IDLE_KIND."""

import os

from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from triggerfish import App

app = App("idle")


async def handle(_message: str) -> None:
    """Do nothing; no entry ever arrives."""


def trigger(kind: str, number: int) -> Trigger:
    """Return a trigger of this kind on a key that no other trigger reads."""
    key = f"idle:{number}"
    if kind == "list":
        return ListTrigger(keys=(key,))
    return StreamTrigger(keys=(key,)) if kind == "stream" else PubSubTrigger(channel=key)


for at in range(int(os.environ.get("IDLE_TRIGGERS", "1"))):
    app.add(handle, trigger(os.environ.get("IDLE_KIND", "list"), at), f"handle_{at}")
