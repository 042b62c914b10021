"""Random histories of a stream and its group, and what a brute-force look finds afterwards."""

from typing import Any

import redis
from hypothesis import strategies as st

__all__ = ["GROUP", "STREAM", "Step", "histories", "play", "undelivered"]

STREAM = "s"
GROUP = "g"

#: One step: a word and numbers, which pick among the entries that were ever added.
Step = tuple[str, int, int]

_numbers = st.integers(0, 40)
_words = ("add", "add", "add", "read", "read", "delete", "delete", "ack", "claim", "trim", "create", "set", "destroy")
_steps = st.tuples(st.sampled_from(_words), _numbers, _numbers)
#: Most begin with entries and a group at 0: without a group there is little to get wrong.
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
    """Play a history on an empty server, in one round trip. Steps that Redis refuses change nothing."""
    added: list[str] = []
    milliseconds = 1
    pipeline = client.pipeline(transaction=False)
    pipeline.execute_command("FLUSHALL")
    for word, first, second in history:
        some = added[first % len(added)] if added else "0-1"
        if word == "add":
            # Bursts within one millisecond, and gaps: IDs must not be taken for counts.
            for sequence in range(1, first % 8 + 2):
                added.append(f"{milliseconds}-{sequence * (second % 3 + 1)}")
                pipeline.execute_command("XADD", STREAM, added[-1], "f", "v")
            milliseconds += second % 5 + 1
        else:
            pipeline.execute_command(*_command(word, first, second, some))
    pipeline.execute(raise_on_error=False)


def _command(word: str, first: int, second: int, some: str) -> tuple[Any, ...]:
    position = ("0", "$", some)[second % 3]
    commands: dict[str, tuple[Any, ...]] = {
        "read": ("XREADGROUP", "GROUP", GROUP, f"c{second % 2}", "COUNT", first % 12 + 1, "STREAMS", STREAM, ">"),
        "delete": ("XDEL", STREAM, some),
        "ack": ("XACK", STREAM, GROUP, some),
        "claim": ("XCLAIM", STREAM, GROUP, f"c{second % 2}", 0, some),
        "trim": ("XTRIM", STREAM, "MAXLEN", first),
        "create": ("XGROUP", "CREATE", STREAM, GROUP, position, "MKSTREAM"),
        "set": ("XGROUP", "SETID", STREAM, GROUP, position),
        "destroy": ("XGROUP", "DESTROY", STREAM, GROUP),
    }
    return commands[word]


def undelivered(client: "redis.Redis") -> tuple[int, int]:
    """Pending entries and undelivered ones, by looking at every entry there is."""
    ids = [_id(entry[0]) for entry in client.execute_command("XRANGE", STREAM, "-", "+") or ()]
    groups = [group for group in _groups(client) if group["name"] == GROUP]
    if not groups:
        return 0, len(ids)
    delivered = _id(groups[0]["last-delivered-id"])
    return groups[0]["pending"], sum(entry > delivered for entry in ids)


def _groups(client: "redis.Redis") -> list[dict[str, Any]]:
    return client.xinfo_groups(STREAM) if client.exists(STREAM) else []


def _id(text: str) -> tuple[int, int]:
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence)
