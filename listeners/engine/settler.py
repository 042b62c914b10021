"""Settles in Redis what has finished, and takes new entries in the same step."""

import asyncio
from collections.abc import Callable, Sequence

from listeners.engine.appetite import Appetite
from listeners.engine.in_progress import InProgress
from listeners.engine.settlement import Outcome, Refusal, Settlement
from listeners.engine.source import LeasedSource, Source
from listeners.errors import SourceError, SourceTimeoutError
from listeners.functions.entries import Entry

__all__ = ["Settler"]


class Settler:
    """Settles the entries of one function. Every method may raise SourceError; what was not settled is kept.

    `may_exchange` returns whether new entries may be taken in the step that settles; `on_taken` receives them.
    `on_settled` is called after each step.
    """

    def __init__(
        self,
        source: Source,
        in_progress: InProgress,
        appetite: Appetite,
        *,
        may_exchange: Callable[[], bool],
        on_taken: Callable[[list[Entry]], object],
        on_settled: Callable[[], object],
    ) -> None:
        self._source = source
        self._leased_source = source if isinstance(source, LeasedSource) else None
        self._in_progress = in_progress
        self._appetite = appetite
        self._may_exchange = may_exchange
        self._on_taken = on_taken
        self._on_settled = on_settled
        self._exchange_failed = False

    async def settle(self) -> None:
        """Wait until entries have finished, settle all that have, and take new entries in the same step if possible."""
        await self._in_progress.something_finished.wait()
        self._in_progress.something_finished.clear()
        room = self._room_for_exchange()
        if self._leased_source is not None and room > 0:
            await self._exchange(self._leased_source, room)
        if self._in_progress.has_finished:
            await self.settle_finished()
        self._on_settled()
        await asyncio.sleep(0)  # lets calls that never wait end, which saves a wake-up

    async def settle_finished(self) -> None:
        """Settle what has finished. What Redis refuses is kept for settle_refused()."""
        finished = self._in_progress.pop_finished()
        if not finished:
            return
        try:
            refusals = await self._source.settle(finished)
        except BaseException:
            self._in_progress.finish(finished)
            raise
        self._settled(finished, refusals)
        self._exchange_failed = False

    async def settle_refused(self) -> None:
        """Settle again what Redis refused: one by one, but those on nodes that are down together.

        Raises the last refusal, so that the next try comes later.
        """
        await self._in_progress.something_refused.wait()
        self._in_progress.something_refused.clear()
        refused = self._in_progress.pop_refused()
        unreachable = [refusal for refusal in refused if refusal.is_unreachable]
        steps = [*([unreachable] if unreachable else []), *([each] for each in refused if not each.is_unreachable)]
        error: SourceError | None = None
        for at, step in enumerate(steps):
            settlements = [refusal.settlement for refusal in step]
            try:
                again = await self._source.settle(settlements)
            except BaseException:
                self._in_progress.refuse([refusal for step in steps[at:] for refusal in step])
                raise
            self._settled(settlements, again)
            error = again[0].error if again else error
        self._on_settled()
        if error is not None:
            raise error

    async def settle_last(self) -> None:
        """Settle what has finished, and try once more what Redis has refused."""
        self._in_progress.finish([refusal.settlement for refusal in self._in_progress.pop_refused()])
        await self.settle_finished()

    def _settled(self, settlements: Sequence[Settlement], refusals: Sequence[Refusal]) -> None:
        """Record that all were settled but those that were refused."""
        refused = {refusal.settlement.entry for refusal in refusals}
        self._in_progress.refuse(refusals)
        self._in_progress.settled([each for each in settlements if each.entry not in refused])

    def _room_for_exchange(self) -> int:
        """Return how many entries may be taken in the step that settles."""
        if self._exchange_failed or not self._may_exchange():
            return 0
        return self._appetite.count(self._in_progress.free_slots_after_settling(), self._in_progress.free_bytes())

    async def _exchange(self, source: LeasedSource, room: int) -> None:
        succeeded = self._in_progress.pop_succeeded()
        self._in_progress.reserve(room)
        # After a failure they are settled alone first. Otherwise ever more entries would be in progress.
        self._exchange_failed = True
        try:
            entries = await source.settle_and_take(succeeded, room, self._in_progress.free_bytes())
        except BaseException as error:
            if isinstance(error, SourceTimeoutError):
                self._appetite.timed_out(room)
            self._in_progress.succeed(succeeded)
            raise
        finally:
            self._in_progress.reserve(0)
        self._exchange_failed = False
        self._in_progress.remove(succeeded, Outcome.SUCCEEDED)
        if entries:
            self._on_taken(entries)
