"""Triggerfish: Python functions triggered by Redis lists, streams and pub/sub."""

from listeners.errors import Reject, Retry
from listeners.functions.app import App
from listeners.functions.entries import RedisMessage
from listeners.host.host import Host

__all__ = ["App", "Host", "RedisMessage", "Reject", "Retry"]
