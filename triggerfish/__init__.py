"""Triggerfish: Python functions triggered by Redis lists, streams and pub/sub, scaled by their backlog.

    from triggerfish import App

    app = App()

    @app.list_trigger(keys="orders")
    async def handle_order(order: dict) -> None: ...

User code needs only this package. `listeners` is the function host, `scaler` the scale controller and
`triggerfish.cli` the command line, which uses both. `triggerfish.testing` has support for tests.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from listeners import BatchError as BatchError
    from listeners import Call as Call
    from listeners import CallNext as CallNext
    from listeners import ConfigurationError as ConfigurationError
    from listeners import Connections as Connections
    from listeners import Context as Context
    from listeners import Fields as Fields
    from listeners import FromField as FromField
    from listeners import Host as Host
    from listeners import HostSettings as HostSettings
    from listeners import RedisMessage as RedisMessage
    from listeners import Reject as Reject
    from listeners import Retry as Retry
    from listeners import TriggerfishError as TriggerfishError
    from listeners import __version__ as __version__
    from triggerfish.app import App as App
    from triggerfish.settings import load_settings as load_settings

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
    "load_settings",
]
#: The names that are not those of listeners.
_OWN = {"App": "triggerfish.app", "load_settings": "triggerfish.settings"}


if not TYPE_CHECKING:  # or type checkers would accept any name

    def __getattr__(name: str) -> Any:
        """Import a public name or a submodule when it is first used (PEP 562): `import triggerfish` costs nothing."""
        if name in __all__:
            from triggerfish.shadowing import shadowing_problem  # noqa: PLC0415

            if problem := shadowing_problem("listeners"):
                raise ImportError(problem)
            value = globals()[name] = getattr(importlib.import_module(_OWN.get(name, "listeners")), name)
            return value
        from importlib.util import find_spec  # noqa: PLC0415  (slow, and most programs need no submodule)

        if find_spec(f"{__name__}.{name}") is not None:
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
