"""The keys, the channel and the group of the app under test."""

from listeners.keys import lease_key

__all__ = ["CHANNEL", "EMPTIED_STREAM", "GROUP", "KEYS", "LEASE", "LISTS", "STREAM"]

LISTS = ("chaos:list:1", "chaos:list:2")
STREAM = "chaos:stream:kept"
EMPTIED_STREAM = "chaos:stream:emptied"
KEYS = (*LISTS, STREAM, EMPTIED_STREAM)
CHANNEL = "chaos:channel"
#: The key of the lease of the function that receives messages.
LEASE = lease_key("chaos", "on_message")
GROUP = "chaos"
