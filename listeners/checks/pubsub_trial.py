"""Execute what the host of a pub/sub function executes: subscribe, and pass on a lease made for it."""

import secrets

from listeners.checks.temporary_keys import LIFE_MS, expiry, removed
from listeners.errors import SourceUnavailableError
from listeners.functions.triggers import PubSubTrigger
from listeners.keys import check_key, lease_draining_key, lease_epoch_key, lease_length_key
from listeners.leases.handover import Handover
from listeners.leases.redis_lease import RedisLease
from listeners.pubsub.receiver import Receiver
from listeners.redis.client import Client
from listeners.redis.subscriptions.shared import SharedSubscriptions

__all__ = ["try_pubsub"]

PING_SECONDS = 1.0


async def try_pubsub(trigger: PubSubTrigger, client: Client, lease_key: str | None, lease_seconds: float) -> None:
    """Subscribe to the channel, whose messages are ignored, with a lease beside the function's if that is in Redis.

    Raises SourceError for the first step that fails.
    """
    await client.server()
    if lease_key is None:
        await _subscribe(trigger, client, None)
        return
    token = secrets.token_hex(6)
    key = check_key(lease_key, token)
    epoch, length = lease_epoch_key(key), lease_length_key(key)
    holder, standby = (RedisLease(client, key, f"check-{token}-{name}", lease_seconds) for name in ("a", "b"))
    async with removed(client, (key, epoch, length, lease_draining_key(key))):
        await client.command(epoch, "SET", epoch, "0", "PX", LIFE_MS, doing=f"making {epoch!r}")
        if not await holder.acquire():
            raise SourceUnavailableError(f"lease {key!r}: could not be acquired, although no other instance uses it")
        await client.command(length, *expiry(length), doing=f"making {length!r}")
        if client.is_cluster:  # there the holder releases the lease and a standby acquires it
            await _subscribe(trigger, client, None)
        else:
            await _subscribe(trigger, client, Handover(holder).channel)
            await Handover(holder).offer()
            await Handover(standby).take_over()
            await client.command(length, *expiry(length), doing=f"making {length!r}")
            await standby.release()
        await holder.release()


async def _subscribe(trigger: PubSubTrigger, client: Client, notices: str | None) -> None:
    receiver = Receiver(
        trigger,
        SharedSubscriptions(client),
        notices,
        on_message=lambda message: False,
        on_end=lambda: None,
        on_disconnect=lambda: None,
    )
    try:
        await receiver.subscribe()
        await receiver.check(PING_SECONDS)
        await receiver.unsubscribe()
        receiver.raise_if_ended()
    finally:
        await receiver.disconnect()
