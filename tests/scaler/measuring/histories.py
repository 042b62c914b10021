"""Random histories of a stream and its group, and a brute-force count of the result."""

from typing import Any

import redis
from hypothesis import strategies as st

__all__ = ["GROUP", "STREAM", "Step", "histories", "play", "undelivered"]

STREAM = "s"
GROUP = "g"

#: One step: an operation and two numbers, which select an entry, a count or a position.
Step = tuple[str, int, int]

_numbers = st.integers(0, 40)
#: Repeated ones are more frequent.
_weighted = (
    "add",
    "add",
    "add",
    "read",
    "read",
    "delete",
    "delete",
    "ack",
    "claim",
    "trim",
    "create",
    "set",
    "destroy",
)
_steps = st.tuples(st.sampled_from(_weighted), _numbers, _numbers)
#: Most histories start with entries and a group at 0: without a group there is little to get wrong.
_beginnings: list[list[Step]] = [
    [],
    *([("add", count, 0), ("add", 7, 1), ("create", 0, 0), ("read", count, 0)] for count in range(2, 8)),
]
histories = st.builds(
    lambda beginning, steps: beginning + steps,
    st.sampled_from(_beginnings),
    st.lists(_steps, min_size=1, max_size=25),
)


def play(client: "redis.Redis", history: list[Step]) -> None:
    """Replay a history on an empty server, in one round trip. Steps that Redis rejects change nothing."""
    added: list[str] = []
    milliseconds = 1
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("FLUSHALL")
    for operation, first, second in history:
        entry_id = added[first % len(added)] if added else "0-1"
        if operation == "add":
            # Bursts within one millisecond, and gaps: differences of IDs must not count as entries.
            for sequence in range(1, first % 8 + 2):
                added.append(f"{milliseconds}-{sequence * (second % 3 + 1)}")
                pipeline.execute_command("XADD", STREAM, added[-1], "f", "v")
            milliseconds += second % 5 + 1
        else:
            pipeline.execute_command(*_command(operation, first, second, entry_id))
    pipeline.execute(raise_on_error=False)


def _command(operation: str, first: int, second: int, entry_id: str) -> tuple[Any, ...]:
    position = ("0", "$", entry_id)[second % 3]
    commands: dict[str, tuple[Any, ...]] = {
        "read": ("XREADGROUP", "GROUP", GROUP, f"c{second % 2}", "COUNT", first % 12 + 1, "STREAMS", STREAM, ">"),
        "delete": ("XDEL", STREAM, entry_id),
        "ack": ("XACK", STREAM, GROUP, entry_id),
        "claim": ("XCLAIM", STREAM, GROUP, f"c{second % 2}", 0, entry_id),
        "trim": ("XTRIM", STREAM, "MAXLEN", first),
        "create": ("XGROUP", "CREATE", STREAM, GROUP, position, "MKSTREAM"),
        "set": ("XGROUP", "SETID", STREAM, GROUP, position),
        "destroy": ("XGROUP", "DESTROY", STREAM, GROUP),
    }
    return commands[operation]


def undelivered(client: "redis.Redis") -> tuple[int, int]:
    """Return the numbers of pending and of undelivered entries, by reading every entry."""
    ids = [_parse_id(entry[0]) for entry in client.execute_command("XRANGE", STREAM, "-", "+") or ()]
    groups = [group for group in _groups(client) if group["name"] == GROUP]
    if not groups:
        return 0, len(ids)
    delivered = _parse_id(groups[0]["last-delivered-id"])
    return groups[0]["pending"], sum(entry > delivered for entry in ids)


def _groups(client: "redis.Redis") -> list[dict[str, Any]]:
    return client.xinfo_groups(STREAM) if client.exists(STREAM) else []


def _parse_id(text: str) -> tuple[int, int]:
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence)
