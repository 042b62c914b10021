"""Everything that is known when a run is over."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.faults.takeovers import Cost
from tests.chaos.hosts.processes import Ending
from tests.chaos.producers.entries import Producer
from tests.chaos.producers.messages import Publisher
from tests.chaos.records.calls import Records

__all__ = ["Evidence"]


@dataclass
class Evidence:
    """Everything that is known when a run is over.

    `seconds` is the time until the last entry was finished, `settle_seconds` the part of it after the last fault.
    """

    seed: int
    hosts: int
    durable: bool
    seconds: float
    settle_seconds: float
    producers: Sequence[Producer]
    publisher: Publisher
    records: Records
    leftovers: dict[str, int]
    dead_letters: Sequence[str]
    endings: Sequence[Ending]
    unexpected_errors: Sequence[str]
    faults: Counter[str]
    costs: Sequence[Cost] = ()

    @property
    def confirmed(self) -> list[str]:
        """The payloads that the server confirmed."""
        return [payload for producer in self.producers for payload in producer.confirmed]

    @property
    def unconfirmed(self) -> list[str]:
        """The payloads without confirmation, which may have been added or not."""
        return [payload for producer in self.producers for payload in producer.unconfirmed]
