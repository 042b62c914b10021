"""Triggerfish's function host: calls Python functions for entries of Redis lists, streams and pub/sub channels.

Packages, from the top layer down; each may import those below it:

- `checks`: what `triggerfish check` reports
- `host`: an app as a process
- `lists`, `streams`, `pubsub`: one source for each kind of trigger; none imports another
- `leases`, `dead_letters`: pub/sub in one instance; entries that failed for good
- `engine`, `redis`: taking, calling and settling; talking to Redis through redis-py
- `functions`, `connections`: what an app declares; where Redis is and who may use it
- `runtime`: clocks, tasks, signals, files and HTTP, without Redis or functions
- `errors`, `keys`, `settings`, `text`, `version`: single modules that everything may import

User code imports these names from `triggerfish`.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from listeners.connections.named import Connections as Connections
    from listeners.errors import BatchError as BatchError
    from listeners.errors import ConfigurationError as ConfigurationError
    from listeners.errors import Reject as Reject
    from listeners.errors import Retry as Retry
    from listeners.errors import TriggerfishError as TriggerfishError
    from listeners.functions.annotations import FromField as FromField
    from listeners.functions.app import App as App
    from listeners.functions.context import Context as Context
    from listeners.functions.entries import Fields as Fields
    from listeners.functions.entries import RedisMessage as RedisMessage
    from listeners.functions.middleware import Call as Call
    from listeners.functions.middleware import CallNext as CallNext
    from listeners.host.host import Host as Host
    from listeners.settings import HostSettings as HostSettings
    from listeners.version import __version__ as __version__

#: Where each public name is defined.
_MODULES = {
    "App": "listeners.functions.app",
    "BatchError": "listeners.errors",
    "Call": "listeners.functions.middleware",
    "CallNext": "listeners.functions.middleware",
    "ConfigurationError": "listeners.errors",
    "Connections": "listeners.connections.named",
    "Context": "listeners.functions.context",
    "Fields": "listeners.functions.entries",
    "FromField": "listeners.functions.annotations",
    "Host": "listeners.host.host",
    "HostSettings": "listeners.settings",
    "RedisMessage": "listeners.functions.entries",
    "Reject": "listeners.errors",
    "Retry": "listeners.errors",
    "TriggerfishError": "listeners.errors",
    "__version__": "listeners.version",
}

__all__ = [
    "App",
    "BatchError",
    "Call",
    "CallNext",
    "ConfigurationError",
    "Connections",
    "Context",
    "Fields",
    "FromField",
    "Host",
    "HostSettings",
    "RedisMessage",
    "Reject",
    "Retry",
    "TriggerfishError",
    "__version__",
]


if not TYPE_CHECKING:  # or type checkers would accept any name

    def __getattr__(name: str) -> Any:
        """Import a public name or a submodule when it is first used (PEP 562)."""
        if name in _MODULES:
            value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
            return value
        from importlib.util import find_spec  # noqa: PLC0415  (slow, and most programs need no submodule)

        if find_spec(f"{__name__}.{name}") is not None:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
