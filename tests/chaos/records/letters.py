"""Dead letters as a run's evidence."""

from typing import Any, NamedTuple

from tests.chaos.hosts.keys import LISTS

__all__ = ["Letter", "letters_in"]


class Letter(NamedTuple):
    """A dead letter. `deliveries` is one more than the calls that were counted, unless the last call failed."""

    payload: str
    deliveries: int
    error: str
    #: How logs name the entry: its key, and its ID if it is in a stream.
    name: str = ""


def letters_in(key: str, rows: Any) -> list[Letter]:
    """Return the dead letters of a key, given the reply to XRANGE."""
    return [_letter(key, fields) for _, fields in rows]


def _letter(key: str, fields: dict[bytes, bytes]) -> Letter:
    payload = fields[b"payload" if key in LISTS else b"field:payload"].decode()
    name = f"{key!r} {fields[b'id'].decode()}".rstrip()
    return Letter(payload, int(fields[b"deliveries"]), fields[b"error"].decode(), name)
