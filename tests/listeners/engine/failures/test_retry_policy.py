"""The outcome of an entry whose call failed."""

import itertools

import pytest

from listeners.engine import retry_policy
from listeners.engine.failures import failure_of
from listeners.engine.retry_policy import died_too_often
from listeners.engine.settlement import Outcome, Settlement
from listeners.errors import Reject, Retry
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger

LIST = ListTrigger(keys=("q",), max_deliveries=3)
STREAM = StreamTrigger(keys=("s",), max_deliveries=3)
AT_MOST_ONCE = ListTrigger(keys=("q",), delivery="at-most-once")
PUBSUB = PubSubTrigger(channel="c")

RETRIED, DEAD, DROPPED = Outcome.RETRIED, Outcome.DEAD_LETTERED, Outcome.DROPPED
FAILURE, REJECT, RETRY, SOON = ValueError("no"), Reject("never"), Retry("later"), Retry("soon", after_seconds=7)


def after_failure(trigger: Trigger, entry: Entry, error: BaseException, *, alone: bool) -> Settlement:
    """Return what the policy decides after a handler raised `error`."""
    return retry_policy.after_failure(trigger, entry, error, failure_of(error, lambda: None), alone=alone)


@pytest.fixture
def no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each back-off as long as possible."""
    monkeypatch.setattr("random.uniform", lambda low, high: high)


@pytest.mark.parametrize(
    ("trigger", "error", "deliveries", "alone", "expected"),
    [
        *((trigger, FAILURE, 1, True, RETRIED) for trigger in (LIST, STREAM)),
        *((trigger, FAILURE, 2, True, RETRIED) for trigger in (LIST, STREAM)),
        *((trigger, FAILURE, 3, True, DEAD) for trigger in (LIST, STREAM)),
        *((trigger, FAILURE, 4, True, DEAD) for trigger in (LIST, STREAM)),
        *((trigger, RETRY, 1, True, RETRIED) for trigger in (LIST, STREAM)),
        *((trigger, RETRY, 3, True, DEAD) for trigger in (LIST, STREAM)),
        *((trigger, SOON, 3, True, DEAD) for trigger in (LIST, STREAM)),
        *((trigger, REJECT, 1, True, DEAD) for trigger in (LIST, STREAM)),
        # It is not known yet which entry of the batch fails.
        *((trigger, FAILURE, 1, False, RETRIED) for trigger in (LIST, STREAM)),
        *((trigger, REJECT, 1, False, RETRIED) for trigger in (LIST, STREAM)),
        *((trigger, FAILURE, 3, False, RETRIED) for trigger in (LIST, STREAM)),
        *((AT_MOST_ONCE, error, 1, alone, DEAD) for error in (FAILURE, REJECT, SOON) for alone in (True, False)),
        *((PUBSUB, error, 1, alone, DROPPED) for error in (FAILURE, REJECT, SOON) for alone in (True, False)),
        (LIST, KeyboardInterrupt(), 1, True, RETRIED),
    ],
)
def test_outcomes(trigger: Trigger, error: BaseException, deliveries: int, *, alone: bool, expected: Outcome) -> None:
    """The outcome depends on the trigger, the error, the delivery count and whether the entry was alone."""
    entry = Entry("k", payload=b"x", deliveries=deliveries)
    settlement = after_failure(trigger, entry, error, alone=alone)
    assert settlement.outcome is expected
    assert settlement.entry is entry
    assert (settlement.delay_ms > 0) <= (expected is RETRIED)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(FAILURE, "ValueError: no"), (ValueError(), "ValueError"), (REJECT, "Reject: never"), (SOON, "Retry: soon")],
)
@pytest.mark.parametrize("trigger", [LIST, AT_MOST_ONCE, PUBSUB])
def test_reasons(trigger: Trigger, error: Exception, reason: str) -> None:
    """The reason is the class and the text of the exception."""
    assert after_failure(trigger, Entry("k"), error, alone=True).error == reason


@pytest.mark.usefixtures("no_jitter")
@pytest.mark.parametrize(
    ("deliveries", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (9, 256), (10, 300), (40, 300), (100_000, 300)]
)
def test_back_off_grows_to_a_cap(deliveries: int, seconds: int) -> None:
    """The wait before the next delivery doubles with each delivery, up to five minutes."""
    trigger = ListTrigger(keys=("q",), max_deliveries=1_000_000)
    settlement = after_failure(trigger, Entry("q", deliveries=deliveries), FAILURE, alone=True)
    assert settlement.delay_ms == seconds * 1000


@pytest.mark.parametrize(("share", "delay_ms"), [(0.0, 750), (1.0, 1000)])
def test_back_off_is_jittered(share: float, delay_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jitter shortens the wait by up to a quarter, so that entries that failed together are retried apart."""
    monkeypatch.setattr("random.uniform", lambda low, high: low + share * (high - low))
    assert after_failure(LIST, Entry("q"), FAILURE, alone=True).delay_ms == delay_ms


@pytest.mark.usefixtures("no_jitter")
@pytest.mark.parametrize(
    ("error", "alone", "delay_ms"),
    [
        (FAILURE, False, 0),
        (REJECT, False, 0),
        (RETRY, False, 0),
        (RETRY, True, 1000),
        (SOON, True, 7000),
        (SOON, False, 7000),
        (Retry(after_seconds=0), True, 0),
        (Retry(after_seconds=0.0015), True, 1),
    ],
)
def test_delays(error: Exception, delay_ms: int, *, alone: bool) -> None:
    """Retry sets the delay; an entry that failed together with others is otherwise retried alone at once."""
    assert after_failure(LIST, Entry("q"), error, alone=alone).delay_ms == delay_ms


@pytest.mark.parametrize("after_seconds", [-1, -0.001, float("inf"), float("-inf"), float("nan")])
def test_invalid_after_seconds(after_seconds: float) -> None:
    """Retry rejects a time to wait that is negative or not a finite number."""
    with pytest.raises(ValueError, match=r"^invalid after_seconds .*: Give a number of seconds, 0 or more\.$"):
        Retry(after_seconds=after_seconds)


@pytest.mark.parametrize("trigger", [LIST, STREAM])
@pytest.mark.parametrize(
    ("deliveries", "died_alone", "is_dead"),
    [(3, True, False), (4, True, True), (5, True, True), (4, False, False), (100, False, False)],
)
def test_suspects(trigger: Trigger, deliveries: int, *, died_alone: bool, is_dead: bool) -> None:
    """A suspect is dead-lettered only if its last call was alone in a process that died, and no call is left."""
    settlement = died_too_often(trigger, Entry("k", deliveries=deliveries, suspect=True, died_alone=died_alone))
    assert (settlement is not None) is is_dead
    if settlement is not None:
        assert settlement.outcome is DEAD
        assert settlement.error.startswith(f"called {deliveries - 1} times, the last time alone in its process")


@pytest.mark.parametrize("max_deliveries", [1, 2, 5])
def test_total_deliveries(max_deliveries: int) -> None:
    """An entry that always fails alone is delivered exactly max_deliveries times."""
    trigger = ListTrigger(keys=("q",), max_deliveries=max_deliveries)
    outcomes = (
        after_failure(trigger, Entry("q", deliveries=n), FAILURE, alone=True).outcome for n in itertools.count(1)
    )
    assert list(itertools.takewhile(lambda outcome: outcome is RETRIED, outcomes)) == [RETRIED] * (max_deliveries - 1)


def test_the_cap_exceeds_the_first_back_off() -> None:
    """The longest back-off is longer than the first."""
    assert 0 < retry_policy.FIRST_RETRY_SECONDS < retry_policy.LAST_RETRY_SECONDS
