"""The scaler's answers while real libraries work, compared with the truth."""

import pytest
import redis.asyncio

from benchmarks.queues.libraries import Library
from benchmarks.queues.questions import asking
from benchmarks.queues.run import run
from tests.support.running_scaler import RunningScaler
from triggerfish.testing.server import Server

pytestmark = pytest.mark.releases("valkey-9.1")

JOBS = 30


async def test_no_answer_is_below_the_truth(
    library: Library, server: Server, scaler: RunningScaler, client: redis.asyncio.Redis
) -> None:
    """From the first job to the last, no answer lacks more jobs than the library hides for a moment, none is 0, and
    none is above what was sent. After the last job the answer becomes 0.
    """
    async with asking(f"{scaler.host}:{scaler.server.grpc_port}", library.metadata) as ask:
        result = await run(library, client, f"redis://{server.address}/0", ask, JOBS)
    samples = result.samples
    assert samples.answers > 0
    assert (samples.zeros, samples.above) == (0, 0), samples
    assert samples.worst <= library.bound, samples
    assert result.repeated == 0
