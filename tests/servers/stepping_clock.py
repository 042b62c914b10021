"""A real server whose clock a test can step, by libfaketime. Its monotonic clock is the real one."""

from pathlib import Path

from tests.servers.catalogue import Release
from tests.support.programs.installed import program
from triggerfish.testing.server import Server

__all__ = ["STEPPABLE", "SteppingClock"]

#: Releases that start under libfaketime. The allocators of older builds read the clock before it is ready.
STEPPABLE = ("redis-6.2", "redis-7.4", "redis-8.2", "valkey-8.1", "valkey-9.1")
#: Where distributions install the library, below /usr.
LIBRARIES = ("lib/*/faketime/libfaketime.so.1", "lib/faketime/libfaketime.so.1", "lib64/faketime/libfaketime.so.1")


class SteppingClock:
    """The clock of a server started with start(). `folder` is for the file that the server reads the time from."""

    def __init__(self, folder: Path) -> None:
        self._offset = folder / "clock"
        self.step(0)

    def step(self, seconds: int) -> None:
        """Set the server's clock to `seconds` after the real time; before it if negative."""
        replacement = self._offset.with_suffix(".new")
        replacement.write_text(f"{seconds:+d}\n")
        replacement.replace(self._offset)  # the server never reads half a file

    def start(self, release: Release, *arguments: str) -> Server:
        """Start a server of this release with these arguments."""
        _remove_leftovers()
        return release.start(
            *arguments,
            environment={
                "LD_PRELOAD": str(_library()),
                "FAKETIME_TIMESTAMP_FILE": str(self._offset),
                "FAKETIME_NO_CACHE": "1",
                "DONT_FAKE_MONOTONIC": "1",
            },
        )


def _remove_leftovers() -> None:
    """Remove the shared memory of killed processes: one that gets the number of such a process would not start."""
    for leftover in Path("/dev/shm").glob("*faketime*"):  # noqa: S108  (named by libfaketime)
        process = leftover.name.rpartition("_")[2]
        if process.isdecimal() and not Path(f"/proc/{process}").exists():
            leftover.unlink(missing_ok=True)


def _library() -> Path:
    """Return the library behind the program faketime, which distributions install beside other libraries."""
    program("faketime")
    found = [path for pattern in LIBRARIES for path in Path("/usr").glob(pattern)]
    assert found, "the program faketime is installed without libfaketime.so.1"
    return found[0]
