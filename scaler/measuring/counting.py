"""Measures one stream step by step, and counts its undelivered entries if Redis does not report how many. No I/O."""

from listeners.errors import SourceError
from listeners.redis.entry_id import EntryId
from listeners.redis.scripts import ScriptCall
from listeners.redis.server_info import ServerInfo
from scaler.measuring.backlog import KeyBacklog
from scaler.measuring.lag import GroupState, Lag, known_lag
from scaler.measuring.queries import Page, Reply, StreamQuery, pages_call, read_pages, read_state, state_call

__all__ = ["STEP_SECONDS", "StreamMeasurement"]

#: How long one step should take the server, which serves nobody else meanwhile.
STEP_SECONDS = 0.01
#: How long the server may work for one count. One that is not finished then is reported as capped.
COUNT_SECONDS = 0.5
#: Entries in one page. The first page has one entry, as one may be huge. Pages grow while steps stay short.
PAGE_GROWTH = 10
MAX_PAGE = 1000


class StreamMeasurement:
    """The measurement of one stream. `call` is the next step, `take` its reply, until there is a `result`.

    Delivered and undelivered entries are counted in step, and the side that ends first decides. If there is nothing on
    one side, which is the most frequent case, no entry is read on the other.
    """

    def __init__(self, query: StreamQuery, server: ServerInfo, *, needs_pages: bool, expected_seconds: float) -> None:
        self._query = query
        self._server = server
        self._state: GroupState | None = None
        self._length = 0
        self._page_size = 1
        self._undelivered = 0
        self._delivered = 0
        self._undelivered_from = EntryId(0, 0)
        self._delivered_from = EntryId(0, 0)
        self.result: KeyBacklog | SourceError | None = None
        #: Whether the lag is not known without pages.
        self.needs_pages = needs_pages
        #: How long the next step is expected to take the server, and how long all steps have taken it.
        self.expected_seconds = expected_seconds
        self.seconds = 0.0

    @property
    def begun(self) -> bool:
        """Whether counting has begun, so that only later entries will be counted."""
        return self._state is not None

    def call(self) -> ScriptCall:
        """Return the script of the next step."""
        if self._state is None:
            return state_call(self._query, 1 if self.needs_pages else 0, self._server)
        delivered = self._delivered_from, self._state.last_delivered
        return pages_call(self._query, self._undelivered_from, delivered, self._page_size, self._server)

    def take(self, reply: Reply) -> None:
        """Take the reply to a step."""
        self.seconds += reply.seconds
        try:
            if self._state is None:
                self._take_state(reply)
            else:
                self._length, undelivered, delivered = read_pages(self._query, reply)
                self._take_pages(self._state, undelivered, delivered, reply.seconds)
        except SourceError as error:
            self.result = error

    def _take_state(self, reply: Reply) -> None:
        state = read_state(self._query, reply)
        self._length = state.length
        lag = known_lag(state.length, state.group, self._server)
        if lag is not None or state.group is None:
            self.needs_pages = False
            self._finish(state.group, lag or Lag(state.length, "derived"))
        elif not self.needs_pages:
            self.needs_pages = True  # the state is read again, as the pages must belong to it
        elif state.undelivered.entries == 0:
            self._finish(state.group, Lag(0, "derived"))
        elif state.delivered.entries == 0:
            self._finish(state.group, Lag(state.length, "derived"))
        else:
            self._state = state.group
            self._take_pages(state.group, state.undelivered, state.delivered, reply.seconds)

    def _take_pages(self, group: GroupState, undelivered: Page, delivered: Page, seconds: float) -> None:
        """Add the entries of two pages. The lag is known when one side has ended, or at a limit."""
        self._undelivered += undelivered.entries
        self._delivered += delivered.entries
        limit = self._query.limit if group.lag is None else min(self._query.limit, group.lag)
        if undelivered.entries < self._page_size or undelivered.last is None:
            self._finish(group, Lag(self._undelivered, "counted"))
        elif delivered.entries < self._page_size or delivered.last is None:
            self._finish(group, Lag(max(self._length - self._delivered, 0), "counted"))
        elif self._undelivered >= limit:
            self._finish(group, Lag(limit, "counted", capped=limit != group.lag))
        elif self.seconds >= COUNT_SECONDS:
            self._finish(group, Lag(self._undelivered, "counted", capped=True))
        else:
            self._undelivered_from, self._delivered_from = undelivered.last.next(), delivered.last.next()
            self._grow(seconds)

    def _grow(self, seconds: float) -> None:
        """Choose the size of the next pages so that they take the server about STEP_SECONDS."""
        affordable = int(self._page_size * STEP_SECONDS / max(seconds, 1e-6))
        size = max(1, min(self._page_size * PAGE_GROWTH, affordable, MAX_PAGE))
        self.expected_seconds = seconds * size / self._page_size
        self._page_size = size

    def _finish(self, group: GroupState | None, lag: Lag) -> None:
        """Set the result. Entries that were trimmed while others were counted make no lag that exceeds the length."""
        if lag.entries > self._length:
            lag = Lag(self._length, lag.how, lag.capped)
        self.result = KeyBacklog(self._query.key, self._length, pending=group.pending if group else 0, lag=lag)
