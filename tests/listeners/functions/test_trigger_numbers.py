"""Trigger parameters that are numbers: what is rejected, and the limits."""

import pytest

from listeners.functions.declarations import parse_trigger
from listeners.functions.triggers import ListTrigger, PubSubTrigger, StreamTrigger, Trigger
from tests.listeners.functions.trigger_errors import parse_error, required

NUMBERS = ["polling_interval_ms", "messages_per_worker", "batch_size", "max_deliveries"]
NOT_COUNTS = [0, -1, "0", "-1", "ten", "", " 5 ", "1.0", "1e3", 1.0, 2.5, True, False, "true", None, [1], "9" * 5000]


@pytest.mark.parametrize("value", NOT_COUNTS)
@pytest.mark.parametrize(
    ("cls", "field"),
    [*((cls, field) for cls in (ListTrigger, StreamTrigger) for field in NUMBERS), (PubSubTrigger, "concurrency")],
)
def test_invalid_numbers(cls: type[Trigger], field: str, value: object) -> None:
    """A number that is not a whole number of at least 1 is rejected with its field, value and meaning."""
    error = parse_error(cls, **{**required(cls), field: value})
    assert (error.field, error.value) == (field, value)
    assert f"{field} is " in error.fix
    assert value is None or repr(value)[:100] in str(error)


@pytest.mark.parametrize("value", [value for value in NOT_COUNTS if value not in (0, "0") or value is False])
@pytest.mark.parametrize("cls", [ListTrigger, StreamTrigger])
def test_invalid_windows(cls: type[Trigger], value: object) -> None:
    """So is a window that is not a number of milliseconds."""
    error = parse_error(cls, **required(cls), BatchWindowMs=value)
    assert (error.field, error.value) == ("BatchWindowMs", value)
    assert "BatchWindowMs is how long a function that takes a list waits for a full batch" in error.fix


@pytest.mark.parametrize("cls", [ListTrigger, StreamTrigger])
def test_a_window_for_batches_of_one(cls: type[Trigger]) -> None:
    """A window needs a batch size above 1, whichever comes first. Zero is none."""
    assert parse_trigger(cls, {**required(cls), "batch_window_ms": 0, "batch_size": 1})
    error = parse_error(cls, **required(cls), batch_window_ms=50, batch_size=1)
    assert (error.field, error.value) == ("batch_window_ms", 50)
    assert error.fix.startswith("A batch of one entry is always full. Remove it, or allow larger batches")


@pytest.mark.parametrize("value", [value for value in NOT_COUNTS if value is not None])
@pytest.mark.parametrize("field", ["concurrency"])
@pytest.mark.parametrize("cls", [ListTrigger, StreamTrigger])
def test_invalid_optional_numbers(cls: type[Trigger], field: str, value: object) -> None:
    """So is one that has no default; without a value, there is none."""
    assert getattr(parse_trigger(cls, {**required(cls), field: None}), field) is None
    error = parse_error(cls, **{**required(cls), field: value})
    assert (error.field, error.value) == (field, value)
    assert f"{field} is " in error.fix


@pytest.mark.parametrize(
    "value",
    [0, 0.05, -1, "0", "-5", "ten", "", " 5 ", "1e3", "5.", ".5", "nan", "inf", True, None, [1], 86_401, "86400.1",
     float("nan"), float("inf"), "9" * 5000],
)  # fmt: skip
@pytest.mark.parametrize("cls", [ListTrigger, StreamTrigger, PubSubTrigger])
def test_invalid_time_limits(cls: type[Trigger], value: object) -> None:
    """A time limit that is not between 0.1 s and one day is rejected with its field and meaning."""
    error = parse_error(cls, **required(cls), call_timeout_seconds=value)
    assert error.field == "call_timeout_seconds"
    assert "call_timeout_seconds is the time limit of one call, in seconds" in error.fix


@pytest.mark.parametrize(
    ("field", "limit"),
    [
        ("polling_interval_ms", 3_600_000),
        ("batch_size", 10_000),
        ("concurrency", 10_000),
        ("batch_window_ms", 300_000),
    ],
)
def test_numbers_have_a_limit(field: str, limit: int) -> None:
    """A number is accepted up to its limit and rejected above it."""
    assert getattr(parse_trigger(ListTrigger, {"keys": "k", field: limit}), field) == limit
    assert parse_error(ListTrigger, keys="k", **{field: limit + 1}).field == field
