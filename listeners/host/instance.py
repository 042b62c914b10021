"""The name of an instance. It imports nothing that takes long, because logging starts with the name."""

import os
import secrets
import socket

__all__ = ["instance_name"]


def instance_name() -> str:
    """Return a unique name for this process: TRIGGERFISH_INSTANCE, or host name, process ID and a random suffix."""
    return os.environ.get("TRIGGERFISH_INSTANCE") or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
