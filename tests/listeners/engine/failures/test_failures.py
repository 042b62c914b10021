"""What is kept and logged of a failed call."""

import logging
import traceback

import pytest
from pydantic import BaseModel, ValidationError

from listeners.dead_letters.letters import description_fields
from listeners.engine import failures
from listeners.engine.failures import MAX_REASON_CHARACTERS, MAX_TRACEBACK_CHARACTERS, FailureLog, failure_of
from listeners.engine.retry_policy import died_too_often
from listeners.engine.settlement import Failure, Outcome, Settlement
from listeners.errors import Retry
from listeners.functions.entries import Entry
from listeners.functions.triggers import ListTrigger
from tests.support.waiting import eventually

TRIGGER = ListTrigger(keys=("q",), max_deliveries=5)


def raise_with_cause(text: str = "no stock") -> None:
    """Raise an exception that was caused by another one."""
    try:
        dict[str, int]()["sku"]
    except KeyError as error:
        raise ValueError(text) from error


def caught(text: str = "no stock") -> ValueError:
    """Return what raise_with_cause raises."""
    try:
        raise_with_cause(text)
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("raised", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_exception_whose_text_cannot_be_read(raised: type[BaseException]) -> None:
    """An exception whose __str__ raises anything is described by its class."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise raised

    assert failure_of(BrokenError(), raise_with_cause).error == "BrokenError"


def test_the_traceback_has_its_chain() -> None:
    """The traceback shows the cause, and where the exception was raised."""
    failure = failure_of(caught(), raise_with_cause)
    assert failure.error == "ValueError: no stock"
    assert failure.where.endswith("in raise_with_cause")
    assert "KeyError: 'sku'" in failure.traceback
    assert "direct cause" in failure.traceback
    assert failure.traceback.rstrip().endswith("ValueError: no stock")


def test_texts_are_bounded() -> None:
    """A text of megabytes is cut, and the traceback keeps its beginning and its end."""
    failure = failure_of(caught("x" * 5_000_000), raise_with_cause)
    assert len(failure.error) == MAX_REASON_CHARACTERS
    assert len(failure.traceback) < MAX_TRACEBACK_CHARACTERS + 100
    assert failure.traceback.startswith("Traceback")


def test_many_validation_errors_are_counted_and_not_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Describing hundreds of thousands of validation errors takes gigabytes: only their number is given."""

    class Order(BaseModel):
        numbers: list[int]

    def describe(error: ValidationError) -> str:
        raise AssertionError("the errors were described")

    with pytest.raises(ValidationError) as raised:
        Order.model_validate({"numbers": ["x"] * 1_000})
    with pytest.raises(ValueError, match="invalid") as wrapped:
        raise ValueError("invalid") from raised.value
    with pytest.raises(ExceptionGroup) as grouped:
        raise ExceptionGroup("in a TaskGroup", [ExceptionGroup("inner", [KeyError("sku"), wrapped.value])])
    assert failure_of(raised.value, raise_with_cause).error == "ValidationError: 1000 validation errors for Order"
    for each in (raised.value, wrapped.value, grouped.value):
        failure = failure_of(each, raise_with_cause)
        assert "1000 validation errors for Order" in failure.traceback
        assert "type=int_parsing" not in failure.traceback
        assert type(failure.exception).__name__ == type(each).__name__


def test_a_group_that_is_too_long_to_log_keeps_its_first_members() -> None:
    """Of a group with many members, or with long texts, the first are kept with their frames, and the number."""
    with pytest.raises(ExceptionGroup) as raised:
        raise ExceptionGroup("many", [caught(f"number {number}") for number in range(1_000)])
    failure = failure_of(raised.value, raise_with_cause)
    assert failure.error == "ExceptionGroup: many (1000 sub-exceptions)"
    assert "ExceptionGroup: many (1000 sub-exceptions)\n" in failure.traceback
    assert "ValueError: number 0" in failure.traceback
    assert "in raise_with_cause" in failure.traceback
    assert len(failure.traceback) <= MAX_TRACEBACK_CHARACTERS + 100
    assert isinstance(failure.exception, BaseExceptionGroup)
    assert 0 < len(failure.exception.exceptions) <= failures.MAX_KEPT


def test_a_short_group_is_kept_as_it_is() -> None:
    """The traceback of a group has those of its members, and error trackers get the group itself."""
    with pytest.raises(ExceptionGroup) as raised:
        raise ExceptionGroup("in a TaskGroup", [caught("first"), caught("second")])
    failure = failure_of(raised.value, raise_with_cause)
    assert failure.exception is raised.value
    assert "ValueError: first" in failure.traceback
    assert "ValueError: second" in failure.traceback


@pytest.mark.parametrize("text", ["x" * 5_000_000, "no stock"], ids=["long text", "deep"])
def test_an_exception_that_is_too_long_to_log_has_a_stand_in(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Error trackers get its name, where it was raised and its cause, with texts and frames in bounds."""
    monkeypatch.setattr(failures, "MAX_FRAMES", 1)
    if text == "no stock":
        monkeypatch.setattr(failures, "MAX_TRACEBACK_CHARACTERS", 100)
    raised = caught(text)
    stand_in = failure_of(raised, raise_with_cause).exception
    assert stand_in is not None
    assert stand_in is not raised
    assert f"{type(stand_in).__name__}: {stand_in}" == f"ValueError: {text}"[:MAX_REASON_CHARACTERS]
    assert [frame.name for frame in traceback.extract_tb(stand_in.__traceback__)] == ["raise_with_cause"]
    assert type(stand_in.__cause__).__name__ == "KeyError"


async def test_the_first_failure_after_a_death_has_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """A call that ended with its process has logged nothing, so the next one that fails is the first to be seen."""
    after_death = settlement(deliveries=2)
    after_death.entry.died_alone = True
    log = FailureLog("f", TRIGGER)
    log.log([after_death])
    log.close()
    [record] = caplog.records
    assert (record.levelno, bool(record.exc_info)) == (logging.ERROR, True)


def settlement(
    outcome: Outcome = Outcome.RETRIED, *, deliveries: int = 1, failure: Failure | None = None
) -> Settlement:
    """Return the settlement of one entry of list q that failed."""
    failure = failure or failure_of(caught(), raise_with_cause)
    return Settlement(Entry("q", payload=b"x", deliveries=deliveries), outcome, 1000, failure)


@pytest.mark.parametrize(
    ("outcome", "deliveries", "level", "line"),
    [
        (Outcome.RETRIED, 1, logging.ERROR, "f: 'q' failed (try 1 of 5, next in 1.0 s): ValueError: no stock"),
        (Outcome.RETRIED, 2, logging.WARNING, "f: 'q' failed (try 2 of 5, next in 1.0 s): ValueError: no stock"),
        (Outcome.DEAD_LETTERED, 5, logging.ERROR, "f: 'q' dead-lettered (try 5 of 5): ValueError: no stock"),
        (Outcome.DROPPED, 1, logging.ERROR, "f: 'q' failed and is lost, as Redis does not keep messages: ValueError"),
    ],
)
async def test_the_line_of_a_failure(
    outcome: Outcome, deliveries: int, level: int, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first failure and the last are errors with a traceback, for error trackers; those between are warnings."""
    log = FailureLog("f", TRIGGER)
    log.log([settlement(outcome, deliveries=deliveries)])
    log.close()
    [record] = caplog.records
    assert record.levelno == level
    assert record.getMessage().startswith(line)
    assert bool(record.exc_info) is (level == logging.ERROR)


@pytest.mark.parametrize("reason", ["later", "x" * 50_000])
async def test_a_requested_retry_is_no_error(caplog: pytest.LogCaptureFixture, reason: str) -> None:
    """A function raises Retry on purpose: it is logged without a traceback, and error trackers do not see it."""
    caplog.set_level(logging.INFO)
    failure = failure_of(Retry(reason, after_seconds=7), raise_with_cause)
    log = FailureLog("f", TRIGGER)
    for _ in range(failures.FULL_LINES + 1):
        log.log([settlement(failure=failure)])
    log.log([settlement(Outcome.DEAD_LETTERED, deliveries=5, failure=failure)])
    log.close()
    assert caplog.records[0].getMessage().startswith("f: 'q' failed (try 1 of 5, next in 1.0 s): Retry: ")
    *requested, dead, summary = caplog.records
    assert {(record.levelno, record.exc_info) for record in (*requested, summary)} == {(logging.INFO, None)}
    assert (dead.levelno, bool(dead.exc_info)) == (logging.ERROR, True)


async def test_the_tries_of_a_suspect(caplog: pytest.LogCaptureFixture) -> None:
    """A suspect that is dead-lettered instead of called has one try less than deliveries, in its letter too."""
    suspect = Entry("q", payload=b"x", deliveries=TRIGGER.max_deliveries + 1, suspect=True, died_alone=True)
    dead = died_too_often(TRIGGER, suspect)
    assert dead is not None
    log = FailureLog("f", TRIGGER)
    log.log([dead])
    log.close()
    assert caplog.messages[0].startswith("f: 'q' dead-lettered (try 5 of 5): called 5 times, ")
    fields = description_fields(dead, "f")
    assert fields[fields.index(b"deliveries") + 1] == b"5"


async def test_a_failed_batch_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The entries of one call fail together and make one line."""
    log = FailureLog("f", TRIGGER)
    failure = failure_of(caught(), raise_with_cause)
    log.log([settlement(failure=failure) for _ in range(100)])
    log.close()
    [record] = caplog.records
    assert "100 entries in one call, from 'q' failed; each is tried again alone: ValueError" in record.getMessage()


async def test_repeated_failures_are_summed_up(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many failures of one kind a few are logged, and the others are counted in one line."""
    monkeypatch.setattr(failures, "SUMMARY_SECONDS", 0.05)
    log = FailureLog("f", TRIGGER)
    for _ in range(57):
        log.log([settlement()])
    log.log([settlement(Outcome.DEAD_LETTERED)])  # another kind
    assert len(caplog.records) == failures.FULL_LINES + 1
    await eventually(lambda: len(caplog.records) == failures.FULL_LINES + 2)
    assert caplog.records[-1].getMessage().startswith("f: 52 more calls retried within 0.05 s: ValueError (")
    log.log([settlement()])
    assert len(caplog.records) == failures.FULL_LINES + 3
    log.close()


async def test_kinds_of_failures_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Failures of ever new kinds are logged in bounds too."""
    log = FailureLog("f", TRIGGER)
    for number in range(1_000):
        log.log([settlement(failure=Failure(f"Error{number}: no"))])
    log.close()
    assert len(caplog.records) == failures.MAX_KINDS + failures.FULL_LINES + 1
