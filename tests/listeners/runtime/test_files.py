"""Files that are replaced while the process runs."""

import os
from pathlib import Path

import pytest

from listeners.runtime.files import FileStamp, FileWatch, file_stamp
from tests.support.waiting import eventually


def link(file: Path, target: Path) -> None:
    """Redirect a link in one step, as in a mounted Kubernetes Secret."""
    new = file.with_suffix(".new")
    new.symlink_to(target)
    new.replace(file)


def test_a_change_while_the_last_one_is_read(tmp_path: Path) -> None:
    """Files that return to an earlier content while a later one is read have changed: the later one was read."""
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "file"
    first.write_text("a")
    second.write_text("b")
    link(file, first)
    watch = FileWatch(lambda: file_stamp(file))
    with watch.reading():
        assert file.read_text() == "a"
    assert not watch.changed()
    link(file, second)
    with watch.reading():
        assert file.read_text() == "b"
        link(file, first)
    assert watch.changed()
    with watch.reading():
        assert file.read_text() == "a"
    assert not watch.changed()


def test_files_whose_reading_failed(tmp_path: Path) -> None:
    """Files count as changed after an error, until they are skipped."""
    watch = FileWatch(lambda: file_stamp(tmp_path / "missing"))
    with watch.reading():
        pass
    with pytest.raises(ValueError, match="unusable"), watch.reading():
        raise ValueError("unusable")
    assert watch.changed()
    watch.skip()
    assert not watch.changed()


async def test_new_content_with_the_old_time(tmp_path: Path) -> None:
    """A file of the same size that was given its old modification time, as by `cp -p`, has changed."""
    file = tmp_path / "password"

    def write(content: str) -> FileStamp:
        file.write_text(content)
        os.utime(file, ns=(0, 0))
        return file_stamp(file)

    before = write("a")
    await eventually(lambda: write("b") != before)  # a file system's clock may tick only every few milliseconds
