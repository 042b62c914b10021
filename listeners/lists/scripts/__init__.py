"""The Lua scripts of lists. `common.lua` describes the records and is prepended to all but `dead_letter_popped`."""

from functools import lru_cache

from listeners.keys import elements_key, inflight_key
from listeners.redis.scripts import Script, load_script

__all__ = ["record_keys", "record_script"]


def record_script(name: str, *, uses: tuple[tuple[str, str], ...] = ()) -> Script:
    """Return a script that works on the records of elements in flight. `uses`: see load_script()."""
    return load_script("listeners.lists.scripts", "common", name, uses=uses)


@lru_cache(maxsize=1024)
def record_keys(key: str) -> list[str]:
    """Return the keys that such a script gets for a list."""
    return [key, inflight_key(key), elements_key(key)]
