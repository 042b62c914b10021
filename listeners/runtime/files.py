"""Small files, such as passwords and certificates, that may be replaced while the process runs."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from listeners.errors import ConfigurationError

__all__ = ["FileStamp", "FileWatch", "file_stamp", "read_file"]

#: More than any password, certificate chain or CA bundle needs.
MAX_FILE_BYTES = 1024 * 1024
FileStamp = tuple[int, ...] | None


def file_stamp(file: Path) -> FileStamp:
    """Return a value that changes when a file is replaced or a link to it is redirected, as in a mounted Kubernetes
    Secret, or None if the file does not exist.
    """
    try:
        status = os.stat(file)
    except (OSError, ValueError):  # ValueError: the path contains a null character
        return None
    # The last change of the inode too: a tool may give the new content the old modification time.
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


class FileWatch:
    """Detects changes to files since they were last read. `stamps` returns their current stamps."""

    def __init__(self, stamps: Callable[[], object]) -> None:
        self._stamps = stamps
        self._read_stamps: object = object()  # never read: equal to no stamp
        self._tried_stamps = self._read_stamps

    def changed(self) -> bool:
        """Return whether the files have changed since they were last read, or were never read."""
        return self._stamps() != self._read_stamps

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read the files in this block. They still count as changed if the block raises, or if they are replaced
        while it runs, even by what was read before.
        """
        self._read_stamps = object()
        self._tried_stamps = self._stamps()
        yield
        if self._stamps() == self._tried_stamps:
            self._read_stamps = self._tried_stamps

    def skip(self) -> None:
        """Treat the files that the last block tried to read as read, because they cannot be used."""
        self._read_stamps = self._tried_stamps


def read_file(file: Path, field: str) -> bytes:
    """Return the content of a file. Raises ConfigurationError with the setting's name and the file's path."""
    try:
        if file.exists() and not file.is_file():  # reading a pipe would block
            raise ConfigurationError(field, str(file), "It is not a file. Give the path of a file.")
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(
            field, str(file), f"It cannot be read ({error.strerror}). Check the path and its permissions."
        ) from None
    except ValueError:
        raise ConfigurationError(field, str(file), "It is not a path. Remove the null character.") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(field, str(file), f"It is larger than {MAX_FILE_BYTES} bytes. Check the path.")
    return content
