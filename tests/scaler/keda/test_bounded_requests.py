"""Requests with far more options than any trigger has are answered without being parsed."""

import pytest
from grpc import StatusCode

from scaler.keda import open_streams
from scaler.keda.bounded_requests import MAX_OCCURRENCES
from scaler.triggers.metadata import MAX_METADATA_KEYS
from tests.support.running_scaler import RunningScaler, failure, reference

pytestmark = pytest.mark.releases("valkey-9.1")

LIST = {"type": "RedisListTrigger", "keys": "orders"}
MANY = {**LIST, **{f"{option:x}": "" for option in range(20_000)}}


async def test_many_options(scaler: RunningScaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """KEDA gets a metric, whose value is an error that names the mistake. Streams stay open, and keep no options."""
    monkeypatch.setattr(open_streams, "MAX_BYTES", 10_000)
    spec = await scaler.keda.spec(MANY)
    assert spec.metricName.startswith("triggerfish-invalid-")
    for call in (scaler.keda.target, scaler.keda.active):
        with failure(StatusCode.INVALID_ARGUMENT, f"more than {MAX_METADATA_KEYS} options"):
            await call(MANY)
    async with scaler.keda.activity(MANY) as stream:
        await stream.call.initial_metadata()
        assert await scaler.keda.target(LIST) == 0
        assert not stream.call.done()
        assert stream.received == []


async def test_options_that_look_like_more(scaler: RunningScaler) -> None:
    """The most options that are read, each of whose lengths equals the byte that is counted, are read."""
    options = {f"{number:026}": "x" * 26 for number in range(MAX_METADATA_KEYS - len(LIST))}
    request = reference({**LIST, **options})
    assert 2 * MAX_METADATA_KEYS < request.SerializeToString().count(b"\x1a") <= MAX_OCCURRENCES
    with failure(StatusCode.INVALID_ARGUMENT, "has no such option"):
        await scaler.keda.target({**LIST, **options})
