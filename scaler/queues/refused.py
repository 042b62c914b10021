"""The libraries whose running jobs are in no key, and why they are refused. No I/O."""

__all__ = ["REFUSED"]

_POPPED = (
    "{library} removes a job from Redis when it starts it, so running jobs cannot be counted, and would be scaled away."
)
_ALTERNATIVE = "Scale these workers by other means, or keep at least one with minReplicaCount."

#: By the type: what is wrong with it, and what can be done instead.
REFUSED: dict[str, str] = {
    "HueyQueue": f"{_POPPED.format(library='huey')} {_ALTERNATIVE}",
    "TaskiqQueue": f"{_POPPED.format(library='ListQueueBroker of taskiq')} With RedisStreamBroker, use "
    "RedisStreamTrigger with the name of the queue as keys, and consumerGroup taskiq.",
    "FastStreamQueue": f"{_POPPED.format(library='A list subscriber of FastStream')} With a stream and a group, use "
    "RedisStreamTrigger.",
    "StreaqQueue": "streaq keeps its queues in streams. Use RedisStreamTrigger with keys "
    "streaq:QUEUE:queues:PRIORITY, and consumerGroup workers.",
}
