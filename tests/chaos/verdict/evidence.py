"""Everything that is known when a run is over."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.faults.takeovers import Cost
from tests.chaos.hosts.app import POISONED_STATUS
from tests.chaos.hosts.processes import Ending
from tests.chaos.producers.entries import Producer
from tests.chaos.producers.messages import MESSAGE, Publisher
from tests.chaos.records.calls import Records
from tests.chaos.records.fates import Fate, fate
from tests.chaos.records.letters import Letter
from tests.chaos.scenarios.scenario import Flushed

__all__ = ["Evidence"]


@dataclass
class Evidence:
    """Everything that is known when a run is over.

    `seconds` is the time until the last entry was finished, `settle_seconds` the part of it after the last fault.
    """

    seed: int
    hosts: int
    durable: bool
    exclusive_lease: bool
    seconds: float
    settle_seconds: float
    producers: Sequence[Producer]
    publisher: Publisher
    records: Records
    leftovers: dict[str, int]
    flushed: Flushed
    dead_letters: Sequence[Letter]
    endings: Sequence[Ending]
    unexpected_errors: Sequence[str]
    #: Lines of logs: Redis may have recorded that a call begins which did not.
    interrupted_begins: Sequence[str]
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

    @property
    def not_replicated(self) -> list[str]:
        """The payloads that a primary confirmed, but too few replicas in time."""
        return [payload for producer in self.producers for payload in producer.not_replicated]

    @property
    def poisoned(self) -> list[Ending]:
        """The ends of processes that called a poison entry."""
        poison = {
            call.start.instance
            for payload in self.records.by_payload
            if not payload.startswith(MESSAGE) and fate(self.seed, payload) is Fate.ENDS_PROCESS
            for call in self.records.calls(payload)
            if call.end is None
        }
        return [each for each in self.endings if each.status == POISONED_STATUS and each.instance in poison]
