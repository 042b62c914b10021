"""Small files with secrets and certificates, which are replaced while we run."""

import os
from pathlib import Path

from listeners.errors import ConfigurationError

__all__ = ["FileStamp", "file_stamp", "read_file"]

#: More than any password, certificate chain or set of CAs needs.
MAX_FILE_BYTES = 1024 * 1024


FileStamp = tuple[int, ...] | None


def file_stamp(file: Path) -> FileStamp:
    """What changes when a file is replaced, also when it is a link that leads elsewhere from now on, as those of a
    mounted Kubernetes Secret do; None: there is no such file.
    """
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def read_file(file: Path, field: str) -> bytes:
    """What a file holds. Raises ConfigurationError that names the field of the settings and the file."""
    try:
        if file.exists() and not file.is_file():  # such as a pipe, which would be waited for
            raise ConfigurationError(field, str(file), "It is not a file.")
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(field, str(file), f"It cannot be read ({error.strerror}).") from None
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(field, str(file), f"It has more than {MAX_FILE_BYTES} bytes.")
    return content
