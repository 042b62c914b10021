"""What the functions under test do with each payload. Only the run's random seed determines it."""

import zlib
from enum import StrEnum

from tests.chaos.hosts.keys import KEYS

__all__ = ["Fate", "fate"]

#: Each rare fate meets one entry in each block of this many entries of every list and stream. It is among the first of
#: its key, so that a short run has one, too.
BLOCK = 2_500
BEGINNING = 400


class Fate(StrEnum):
    """What the function does with a payload."""

    SUCCEEDS = "succeeds"
    RAISES_ONCE = "raises once"
    ASKS_FOR_RETRY = "asks for a retry"
    IS_REJECTED = "is rejected"
    ENDS_PROCESS = "ends its process"
    BLOCKS_LOOP = "blocks the event loop"
    HOLDS_GIL = "holds the GIL"


RARE = (Fate.ENDS_PROCESS, Fate.BLOCKS_LOOP, Fate.HOLDS_GIL)


def fate(seed: int, payload: str) -> Fate:
    """Return the fate of a payload: 2 % raise at first, 0.5 % ask for a retry, 0.1 % are rejected; others are rare."""
    key, _, number = payload.rpartition("/")
    block, place = divmod(int(number), BLOCK)
    for rare in RARE:
        draw = _draw(f"{seed}:{rare}:{block}", len(KEYS) * BEGINNING)
        if (key, place) == (KEYS[draw % len(KEYS)], draw // len(KEYS)):
            return rare
    draw = _draw(f"{seed}:{payload}", 1000)
    if draw == 0:
        return Fate.IS_REJECTED
    if draw <= 20:
        return Fate.RAISES_ONCE
    return Fate.ASKS_FOR_RETRY if draw <= 25 else Fate.SUCCEEDS


def _draw(text: str, number: int) -> int:
    return zlib.crc32(text.encode()) % number
