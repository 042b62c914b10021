"""The host's second thread."""

import pytest

from listeners.host.supervisor import Supervisor
from tests.support.waiting import eventually


async def test_a_task_that_dies_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The error of a task is logged at once with its traceback: nobody waits for the task."""

    async def die() -> None:
        raise ValueError("no stock")

    supervisor = Supervisor()
    supervisor.start()
    try:
        supervisor.add(die)
        await eventually(lambda: caplog.records)
    finally:
        await supervisor.stop()
    [record] = caplog.records
    assert record.getMessage() == "a task of the supervisor ended with an unexpected error"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "no stock"
