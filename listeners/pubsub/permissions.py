"""The Redis commands, keys and channels that a pub/sub trigger needs."""

from listeners.functions.triggers import PubSubTrigger
from listeners.keys import lease_epoch_key, lease_key, lease_notices_channel
from listeners.redis.acl import EVAL, SHA, Permissions, SampleCommand, escape_glob, without_spaces

__all__ = ["pubsub_permissions"]


def pubsub_permissions(trigger: PubSubTrigger, app_name: str, function_name: str) -> Permissions:
    """Return what a function with this trigger must be allowed to do."""
    subscribe: SampleCommand = ("PSUBSCRIBE" if trigger.is_pattern else "SUBSCRIBE", trigger.channel)
    # Redis compares a subscribed pattern with the ACL rule literally, and matches a channel against it as a glob.
    channel = without_spaces(trigger.channel) if trigger.is_pattern else escape_glob(trigger.channel)
    unsubscribe: SampleCommand = ("PUNSUBSCRIBE" if trigger.is_pattern else "UNSUBSCRIBE", trigger.channel)
    if not trigger.singleton:
        return Permissions((subscribe, unsubscribe, ("PING",)), (), (), (channel,))
    lease = lease_key(app_name, function_name)
    epoch, notices = lease_epoch_key(lease), lease_notices_channel(lease)
    calls: tuple[SampleCommand, ...] = (
        subscribe, unsubscribe, ("PING",), EVAL, ("EVALSHA", SHA, "2", lease, epoch), ("GET", lease),
        ("SET", lease, "v"), ("INCR", epoch), ("PEXPIRE", lease, "1"), ("PTTL", lease), ("DEL", lease), ("GET", epoch),
        ("SUBSCRIBE", notices), ("UNSUBSCRIBE", notices), ("PUBLISH", notices, "v"), ("PUBSUB", "NUMSUB", notices),
    )  # fmt: skip
    # `triggerfish check` uses a lease whose key and channel begin like these.
    return Permissions(calls, (), (f"{escape_glob(lease)}*",), (channel, f"{escape_glob(lease)}:*"))
