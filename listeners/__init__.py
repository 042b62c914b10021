"""Triggerfish: Python functions triggered by Redis lists, streams and pub/sub."""

from listeners.app import App
from listeners.errors import Reject, Retry
from listeners.host import Host
from listeners.messages import RedisMessage

__all__ = ["App", "Host", "RedisMessage", "Reject", "Retry"]
