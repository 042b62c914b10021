"""Fixtures: the libraries, installed into their environments."""

import pytest

from benchmarks.queues.environments import install, missing_tool
from benchmarks.queues.libraries import LIBRARIES, Library
from tests.servers.catalogue import ALL_REQUIRED

PROGRAMS = ("arq", "bullmq", "celery", "rq")
#: Modes that only `make queues` runs.
LESS_USED = ("BullMQ 5", "Bull", "Bee-Queue")
#: Those whose tools are on this machine; all of them if all are required (CI).
RUNNABLE = {
    one.name: one
    for one in LIBRARIES
    if one.program in PROGRAMS and one.name not in LESS_USED and (ALL_REQUIRED or not missing_tool(one.program))
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "libraries(*names): run with these modes of libraries only, instead of all")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses `library` with each mode of each library, or with those of its `libraries` mark."""
    if "library" in metafunc.fixturenames:
        mark = metafunc.definition.get_closest_marker("libraries")
        names = [name for name in RUNNABLE if mark is None or name in mark.args]
        metafunc.parametrize("library", names, indirect=True)


@pytest.fixture
def library(request: pytest.FixtureRequest) -> Library:
    """A library in one mode. It is installed if it is not; `make libraries` does so beforehand."""
    found = RUNNABLE[request.param]
    reason = install(found.program)
    assert not reason, reason
    return found
