"""Dead letters as a run's evidence."""

from typing import Any, NamedTuple

from tests.chaos.hosts.app import LISTS

__all__ = ["Letter", "letters_in"]


class Letter(NamedTuple):
    """A dead letter. `deliveries` is one more than the calls that were counted, unless the last call failed."""

    payload: str
    deliveries: int
    error: str


def letters_in(key: str, rows: Any) -> list[Letter]:
    """Return the dead letters of a key, given the reply to XRANGE."""
    field = b"payload" if key in LISTS else b"field:payload"
    return [Letter(fields[field].decode(), int(fields[b"deliveries"]), fields[b"error"].decode()) for _, fields in rows]
