"""The entrants: Triggerfish, the hand-written loop and the peers, each in its modes.

To add a library, add its pins to requirements/, a program to workers/ and its entrants here.
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.host.contenders import CONTENDERS, Contender
from benchmarks.host.scenarios import Scenario

__all__ = ["ENTRANTS", "HAND_WRITTEN", "OURS", "ROOT", "Entrant", "counterpart", "interpreter"]

ROOT = Path(__file__).parents[2]
OURS = "Triggerfish"
HAND_WRITTEN = "loop by hand"
#: Products that run in the project's environment, by the name of their contender in `benchmarks.host.throughput`.
LOCAL_CONTENDERS = {OURS: "triggerfish", HAND_WRITTEN: "plain"}


@dataclass(frozen=True)
class Entrant:
    """One product in one mode.

    `scenario` is what it reads, with which guarantee and concurrency or batch size; `how` describes the mode. `worker`
    names the peer's program, requirements and environment; empty for products in the project's environment. `share` is
    the fraction of the requested entries that it gets: slow products need fewer. `in_memory`: its memory is measured.
    `clonable`: its messages hold nothing unique, so they may be repeated on the server.
    """

    product: str
    scenario: Scenario
    how: str
    worker: str = ""
    share: float = 1.0
    in_memory: bool = False
    clonable: bool = False

    @property
    def contender(self) -> Contender:
        """The program that runs this entrant."""
        if not self.worker:
            return CONTENDERS[LOCAL_CONTENDERS[self.product]]
        return Contender(
            (str(interpreter(self.worker)), "-m", f"benchmarks.peers.workers.{self.worker}_worker", "work")
        )

    @property
    def name(self) -> str:
        """The name in messages."""
        return f"{self.product}, {self.how}"


def interpreter(worker: str) -> Path:
    """Return the path of the Python interpreter in a peer's environment."""
    return ROOT / ".venv" / "peers" / worker / "bin" / "python"


def counterpart(scenario: Scenario) -> Scenario:
    """Return Triggerfish's scenario to compare with: same source and kind of call, at least once where available."""
    if scenario.kind == "pubsub":
        return Scenario("pubsub", "at-most-once", 1, batch_calls=False)
    return Scenario(scenario.kind, "at-least-once", 100 if scenario.batch == 100 else 10, scenario.batch_calls)


def _ours(name: str, how: str, *, in_memory: bool = False, product: str = OURS) -> Entrant:
    scenario = Scenario.parse(name)
    share = _share(scenario, 1.0 if product == OURS else 0.5)
    return Entrant(product, scenario, how, share=share, in_memory=in_memory, clonable=True)


def _faststream(name: str, how: str, *, in_memory: bool = False) -> Entrant:
    scenario = Scenario.parse(name)
    return Entrant("FastStream", scenario, how, "faststream", _share(scenario, 0.2), in_memory, clonable=True)


def _share(scenario: Scenario, of_entries: float) -> float:
    """Return the share of the entries; batches of more than 10 get more, because they take little time per entry."""
    return scenario.batch / 50 if scenario.batch_calls and scenario.batch > 10 else of_entries


def _by_size(
    product: str, kind: str, delivery: str, how: str, *, share: float, clonable: bool = False
) -> list[Entrant]:
    """Return the entrants of a product that handles single entries, with a concurrency of 10 and of 100."""
    worker = product.split("-", maxsplit=1)[0].lower()
    return [
        Entrant(
            product,
            Scenario(kind, delivery, size, batch_calls=False),
            how.format(size=size),
            worker,
            share,
            in_memory=size == 10,
            clonable=clonable,
        )
        for size in (10, 100)
    ]


ENTRANTS: list[Entrant] = [
    _ours("list:at-least-once:entries:10", "list, entry per call, batch 10", in_memory=True),
    _ours("list:at-least-once:entries:100", "list, entry per call, batch 100"),
    _ours("list:at-least-once:batches:10", "list, batch of 10 per call"),
    _ours("list:at-least-once:batches:100", "list, batch of 100 per call"),
    _ours("list:at-most-once:entries:10", "list, entry per call, batch 10 (LPOP 10)"),
    _ours("list:at-most-once:batches:100", "list, batch of 100 per call (LPOP 100)"),
    _ours("stream:at-least-once:entries:10", "stream, entry per call, batch 10", in_memory=True),
    _ours("stream:at-least-once:entries:100", "stream, entry per call, batch 100"),
    _ours("stream:at-least-once:batches:10", "stream, batch of 10 per call"),
    _ours("stream:at-least-once:batches:100", "stream, batch of 100 per call"),
    _ours("pubsub:at-most-once:entries:1", "pub/sub", in_memory=True),
    _ours(
        "list:at-least-once:entries:10",
        "list with Triggerfish's scripts, entry per call, batch 10",
        product=HAND_WRITTEN,
    ),
    _ours(
        "list:at-least-once:batches:100", "list with Triggerfish's scripts, batch of 100 per call", product=HAND_WRITTEN
    ),
    _ours("stream:at-least-once:entries:10", "stream, entry per call, batch 10", product=HAND_WRITTEN),
    _ours("stream:at-least-once:batches:100", "stream, batch of 100 per call", product=HAND_WRITTEN),
    _faststream("list:at-most-once:entries:1", "list, message per call (BLPOP)", in_memory=True),
    _faststream("list:at-most-once:entries:10", "list, message per call, max_workers=10"),
    _faststream("list:at-most-once:batches:10", "list, batch of 10 per call (LPOP 10)"),
    _faststream("list:at-most-once:batches:100", "list, batch of 100 per call (LPOP 100)"),
    _faststream(
        "stream:at-least-once:entries:10", "stream, message per call, group, XACK, max_records=10", in_memory=True
    ),
    _faststream("stream:at-least-once:entries:100", "stream, message per call, group, XACK, max_records=100"),
    _faststream("stream:at-most-once:entries:10", "stream, message per call, no group (XREAD), max_records=10"),
    _faststream("stream:at-least-once:batches:10", "stream, batch of 10 per call, group, XACK"),
    _faststream("stream:at-least-once:batches:100", "stream, batch of 100 per call, group, XACK"),
    _faststream("pubsub:at-most-once:entries:1", "pub/sub", in_memory=True),
    *_by_size("taskiq-redis", "list", "at-most-once", "list broker (BRPOP), {size} tasks", share=0.05, clonable=True),
    *_by_size(
        "taskiq-redis", "stream", "at-least-once", "stream broker, XACK, {size} tasks", share=0.05, clonable=True
    ),
    *_by_size("arq", "list", "at-least-once", "sorted set, poll_delay=10 ms, max_jobs={size}", share=0.05),
    *_by_size("streaq", "stream", "at-least-once", "stream, XACK, concurrency={size}", share=0.05),
    *_by_size("saq", "list", "at-least-once", "list (BLMOVE), retries, concurrency={size}", share=0.05),
    *_by_size("celery", "list", "at-least-once", "acks_late, pool solo, prefetch {size}", share=0.05),
    *_by_size("dramatiq", "list", "at-least-once", "8 threads, prefetch {size}", share=0.05),
    Entrant(
        "rq", Scenario.parse("list:at-least-once:entries:1"), "SimpleWorker, retries", "rq", share=0.02, in_memory=True
    ),
]
