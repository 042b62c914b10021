"""Permissions: moved out of another file; say what belongs here."""

from listeners.functions.triggers import PubSubTrigger
from listeners.keys import lease_key, notice_channel
from listeners.redis.acl import EVAL, SHA, Call, Needs, _escaped, _unspaced


def _needs_of_channel(trigger: PubSubTrigger, app: str, function: str) -> Needs:
    subscribe: Call = ("PSUBSCRIBE" if trigger.is_pattern else "SUBSCRIBE", trigger.channel)
    # Redis compares a pattern with the rule letter by letter, and a channel as the rule's glob has it.
    channel = _unspaced(trigger.channel) if trigger.is_pattern else _escaped(trigger.channel)
    if not trigger.singleton:
        return Needs((subscribe, ("PING",)), (), (), (channel,))
    lease = lease_key(app, function)
    epoch, notices = f"{lease}:epoch", notice_channel(lease)
    calls: tuple[Call, ...] = (
        subscribe, ("PING",), EVAL, ("EVALSHA", SHA, "2", lease, epoch), ("GET", lease), ("SET", lease, "v"),
        ("INCR", epoch), ("PEXPIRE", lease, "1"), ("PTTL", lease), ("DEL", lease), ("GET", epoch),
        ("SUBSCRIBE", notices), ("PUBLISH", notices, "v"), ("PUBSUB", "NUMSUB", notices),
        ("PUNSUBSCRIBE" if trigger.is_pattern else "UNSUBSCRIBE", trigger.channel),
    )  # fmt: skip
    return Needs(calls, (), (f"{_escaped(lease)}*",), (channel, _escaped(notices)))
