"""Small files with secrets and certificates, which may be replaced while the process runs."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from listeners.errors import ConfigurationError

__all__ = ["FileStamp", "FileWatch", "file_stamp", "read_file"]

#: More than any password, certificate chain or set of CAs needs.
MAX_FILE_BYTES = 1024 * 1024
FileStamp = tuple[int, ...] | None


def file_stamp(file: Path) -> FileStamp:
    """A value that changes when a file is replaced, or when a link to it leads elsewhere, as in the mount of a
    Kubernetes Secret. None: the file does not exist.
    """
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


class FileWatch:
    """Detects that files have changed since they were last read. `stamps` returns their stamps now."""

    def __init__(self, stamps: Callable[[], object]) -> None:
        self._stamps = stamps
        self._read: object = object()  # equal to no stamp: never read
        self._tried = self._read

    def changed(self) -> bool:
        """Whether the files differ from what was read last, or were never read."""
        return self._stamps() != self._read

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read the files in this block. They still count as changed if the block raises, or if they were replaced
        meanwhile.
        """
        self._tried = self._stamps()
        yield
        if self._stamps() == self._tried:
            self._read = self._tried

    def skip(self) -> None:
        """Count what the last block tried to read as read: it cannot be used."""
        self._read = self._tried


def read_file(file: Path, field: str) -> bytes:
    """The content of a file. Raises ConfigurationError with the settings' field and the file's path."""
    try:
        if file.exists() and not file.is_file():  # reading a pipe would block
            raise ConfigurationError(field, str(file), "It is not a file.")
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(field, str(file), f"It cannot be read ({error.strerror}).") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(field, str(file), f"It has more than {MAX_FILE_BYTES} bytes.")
    return content
